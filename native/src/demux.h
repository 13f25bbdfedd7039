/*
 * What kind of datagram is this? RFC 7983, section 7 (first octet) and RFC 5761, section 4 (RTP or RTCP).
 *
 *   first octet     0..3   16..19   20..63   64..79   128..191   all others
 *   class           STUN   ZRTP     DTLS     TURN     RTP/RTCP   unknown
 */
#ifndef UMS_DEMUX_H
#define UMS_DEMUX_H

#include <stddef.h>
#include <stdint.h>

typedef enum ums_class {
  UMS_CLASS_UNKNOWN = 0,
  UMS_CLASS_STUN = 1,
  UMS_CLASS_ZRTP = 2,
  UMS_CLASS_DTLS = 3,
  UMS_CLASS_TURN = 4,
  UMS_CLASS_RTP = 5,
  UMS_CLASS_RTCP = 6
} ums_class;

typedef enum ums_carries { /* what was negotiated for the socket */
                           UMS_CARRIES_RTP = 1,
                           UMS_CARRIES_RTCP = 2,
                           UMS_CARRIES_BOTH = 3 /* a=rtcp-mux */
} ums_carries;

/* RTP and RTCP are named only when the datagram holds at least their fixed header (12 and 8 octets). */
ums_class ums_demux(const uint8_t *data, size_t len, ums_carries carries);

#endif
