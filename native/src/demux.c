/* Classes of datagrams; see demux.h. */
#include "demux.h"

#define RTP_HEADER 12       /* RFC 3550, 5.1 */
#define RTCP_HEADER 8       /* RFC 3550, 6.1: first word and the sender's SSRC */
#define RTCP_TYPE_FIRST 192 /* RFC 5761, 4: packet types 192..223 never collide with RTP in use */
#define RTCP_TYPE_LAST 223

static const struct {
  uint8_t first, last, class;
} ROWS[] = {
    {0, 3, UMS_CLASS_STUN},
    {16, 19, UMS_CLASS_ZRTP},
    {20, 63, UMS_CLASS_DTLS},
    {64, 79, UMS_CLASS_TURN},
};

static ums_class media_class(const uint8_t *data, size_t len, ums_carries carries) {
  int type_of_rtcp = len >= 2 && data[1] >= RTCP_TYPE_FIRST && data[1] <= RTCP_TYPE_LAST;
  int rtcp = carries == UMS_CARRIES_RTCP || (carries == UMS_CARRIES_BOTH && type_of_rtcp);
  if (!rtcp)
    return len >= RTP_HEADER ? UMS_CLASS_RTP : UMS_CLASS_UNKNOWN;
  return type_of_rtcp && len >= RTCP_HEADER ? UMS_CLASS_RTCP : UMS_CLASS_UNKNOWN;
}

ums_class ums_demux(const uint8_t *data, size_t len, ums_carries carries) {
  if (len == 0)
    return UMS_CLASS_UNKNOWN;
  /* Media first: it is nearly all there is. */
  if (data[0] >= 128 && data[0] <= 191)
    return media_class(data, len, carries);
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++)
    if (data[0] >= ROWS[i].first && data[0] <= ROWS[i].last)
      return ROWS[i].class;
  return UMS_CLASS_UNKNOWN;
}
