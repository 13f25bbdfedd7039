/* Fuzz target: any octets have exactly one class, the same for every way to ask, and nothing is read past the end. */
#include <stdlib.h>
#include <string.h>

#include "demux.h"

static void check(int holds) {
  if (!holds)
    abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len) {
  /* A copy of exactly this size, so that AddressSanitizer sees every octet too many. */
  uint8_t *own = malloc(len ? len : 1);
  check(own != NULL);
  if (len)
    memcpy(own, data, len);
  ums_class rtp = ums_demux(own, len, UMS_CARRIES_RTP);
  ums_class rtcp = ums_demux(own, len, UMS_CARRIES_RTCP);
  ums_class both = ums_demux(own, len, UMS_CARRIES_BOTH);
  check(rtp != UMS_CLASS_RTCP && rtcp != UMS_CLASS_RTP);
  int media = len > 0 && own[0] >= 128 && own[0] <= 191;
  if (media)
    check(both == rtp || both == rtcp);
  else
    check(both == rtp && both == rtcp && both != UMS_CLASS_RTP && both != UMS_CLASS_RTCP);
  if (both == UMS_CLASS_RTP)
    check(len >= 12);
  if (both == UMS_CLASS_RTCP)
    check(len >= 8);
  free(own);
  return 0;
}
