/*
 * The host build of the accelerator's firmware: its protocol core behind a descriptor instead of a UART. Pacing is
 * arithmetic: a clock for each direction of the line tells when an octet has arrived, and an answer is held until then.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "device.h"
#include "ums_accel.h"

#define QUEUE (64 * 1024) /* octets of answers that wait for their time */
#define ANSWERS 256
#define BITS_PER_OCTET 10 /* 8N1 */
#define LATE_NS 120000000u
#define TURN_NS 20000000 /* how often stop and heartbeat are looked at */
#define HEAD_AND_CRC (UMSA_HEAD + UMSA_CRC)

typedef struct answer {
  uint64_t due;
  uint32_t len;
} answer;

struct ums_device {
  umsa_device core;
  umsa_secrets secrets;
  umsa_driver driver;
  ums_device_config cfg;
  atomic_uint fault, stopping;
  uint8_t *out; /* of feed */
  size_t out_len, out_room;
  int serving;
  uint64_t rx_clock, cpu_clock, tx_clock, octet_ns, compute_ns; /* compute_ns: what the answer at hand took */
  uint32_t first, n;                                            /* answers, a ring */
  answer answers[ANSWERS];
  size_t queue_at, queue_len; /* octets, a ring */
  uint8_t queue[QUEUE];
};

size_t ums_device_sizeof(void) { return sizeof(ums_device); }

static int host_random(uint8_t *out, size_t len) { return getrandom(out, len, 0) == (ssize_t)len; }

static void enqueue(ums_device *d, const uint8_t *octets, size_t len) {
  if (d->n == ANSWERS || d->queue_len + len > QUEUE)
    return; /* nobody reads: a UART would lose them too */
  const uint64_t begun = d->cpu_clock > d->rx_clock ? d->cpu_clock : d->rx_clock;
  d->cpu_clock = begun + d->compute_ns;
  const uint64_t start = d->tx_clock > d->cpu_clock ? d->tx_clock : d->cpu_clock;
  d->tx_clock = start + len * d->octet_ns;
  const uint64_t late = atomic_load(&d->fault) == UMS_FAULT_LATE ? LATE_NS : 0;
  d->answers[(d->first + d->n++) % ANSWERS] = (answer){d->tx_clock + late, (uint32_t)len};
  for (size_t i = 0; i < len; i++)
    d->queue[(d->queue_at + d->queue_len++) % QUEUE] = octets[i];
}

/* The answer to a job in a good frame again, with one octet of its body changed, or BUSY in its place. */
static void enqueue_other(ums_device *d, const uint8_t *octets, size_t len, ums_device_fault fault) {
  umsa_receiver rx = {0};
  uint8_t again[UMSA_MAX_ENCODED];
  int found = UMSA_NOTHING;
  umsa_receive(&rx, octets, len, &found);
  if (found != UMSA_FRAME)
    return;
  umsa_head head = {rx.frame[0], rx.frame[1], rx.frame[2], rx.frame[3]};
  const int job = head.op == UMSA_OP_PROTECT || head.op == UMSA_OP_UNPROTECT;
  size_t body = umsa_body_len(&rx);
  if (job && fault == UMS_FAULT_BUSY) {
    head.status = UMSA_STATUS_BUSY;
    body = 0;
  } else if (job && body > 0) {
    rx.frame[UMSA_HEAD] ^= 1;
  }
  enqueue(d, again, umsa_encode(&head, rx.frame + UMSA_HEAD, body, again, sizeof again));
}

static void faulty(ums_device *d, const uint8_t *octets, size_t len) {
  const uint8_t op = len > 1 && octets[0] > 1 ? octets[1] : 0; /* behind the first code octet of COBS */
  d->compute_ns = op == UMSA_OP_PROTECT || op == UMSA_OP_UNPROTECT ? (uint64_t)d->cfg.compute_us * 1000 : 0;
  uint8_t changed[UMSA_MAX_ENCODED];
  switch (atomic_load(&d->fault)) {
  case UMS_FAULT_HANG:
    return;
  case UMS_FAULT_BABBLE:
    for (size_t i = 0; i < len; i++)
      changed[i] = (uint8_t)((i & 31u) ^ 5u); /* with delimiters, as noise has them */
    enqueue(d, changed, len);
    return;
  case UMS_FAULT_CORRUPT:
    memcpy(changed, octets, len);
    changed[len / 2] ^= 0x10;
    enqueue(d, changed, len);
    return;
  case UMS_FAULT_WRONG:
  case UMS_FAULT_BUSY:
    enqueue_other(d, octets, len, atomic_load(&d->fault));
    return;
  default:
    enqueue(d, octets, len);
  }
}

static void write_octets(void *self, const uint8_t *octets, size_t len) {
  ums_device *d = self;
  if (d->serving) {
    faulty(d, octets, len);
    return;
  }
  const size_t n = len < d->out_room - d->out_len ? len : d->out_room - d->out_len;
  memcpy(d->out + d->out_len, octets, n);
  d->out_len += n;
}

static void boot(ums_device *d) {
  umsa_platform p = {.self = d,
                     .write = write_octets,
                     .driver = &d->driver,
                     .secrets = &d->secrets,
                     .has_key = d->cfg.has_key,
                     .plain_load = d->cfg.plain_load,
                     .spoil_test = (uint8_t)d->cfg.spoil_test};
  ums_wipe(&d->secrets, sizeof d->secrets);
  memcpy(d->secrets.identity, d->cfg.key, sizeof d->secrets.identity);
  memcpy(p.boot_id, d->cfg.boot_id, sizeof p.boot_id);
  memcpy(p.unit, d->cfg.unit, sizeof p.unit);
  umsa_device_init(&d->core, &p);
}

ums_status ums_device_init(ums_device *d, size_t len, const ums_device_config *cfg) {
  if (d == NULL || cfg == NULL)
    return UMS_BAD_ARGUMENT;
  if (len < sizeof *d)
    return UMS_NO_ROOM;
  memset(d, 0, sizeof *d);
  d->cfg = *cfg;
  d->driver = umsa_driver_soft;
  d->driver.rng = cfg->has_random ? host_random : NULL;
  boot(d);
  return UMS_OK;
}

size_t ums_device_feed(ums_device *d, uint32_t now_ms, const uint8_t *in, size_t len, uint8_t *out, size_t room) {
  d->serving = 0;
  d->out = out;
  d->out_len = 0;
  d->out_room = room;
  umsa_device_time(&d->core, now_ms);
  umsa_device_octets(&d->core, in, len);
  return d->out_len;
}

/* ------------------------------------------------------------------------------------------------------ serving -- */

static uint64_t now_ns(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void disturb(ums_device *d) {
  for (size_t i = 0; i < UMSA_SLOTS; i++)
    if (d->secrets.slot[i].key.used)
      d->secrets.slot[i].key.salt[0] ^= 1;
}

static void take(ums_device *d, const uint8_t *octets, size_t len, uint64_t now) {
  unsigned once = UMS_FAULT_REBOOT, never = UMS_FAULT_SELFTEST, bits = UMS_FAULT_DISTURBED;
  if (atomic_compare_exchange_strong(&d->fault, &bits, UMS_FAULT_NONE))
    disturb(d);
  const int fails = atomic_compare_exchange_strong(&d->fault, &never, UMS_FAULT_NONE);
  if (fails)
    d->cfg.spoil_test = UMSA_TEST_AES;
  if (fails || atomic_compare_exchange_strong(&d->fault, &once, UMS_FAULT_NONE)) {
    d->cfg.boot_id[0]++;
    boot(d);
  }
  if (d->rx_clock < now)
    d->rx_clock = now;
  for (size_t i = 0; i < len; i++) {
    d->rx_clock += d->octet_ns;
    umsa_device_octets(&d->core, &octets[i], 1);
  }
}

/* Writes what is due; 0 when the line is gone. */
static int deliver(ums_device *d, int fd, uint64_t now) {
  while (d->n > 0 && d->answers[d->first].due <= now) {
    answer *a = &d->answers[d->first];
    const size_t run = QUEUE - d->queue_at < a->len ? QUEUE - d->queue_at : a->len;
    const ssize_t done = write(fd, d->queue + d->queue_at, run);
    if (done < 0)
      return errno == EAGAIN || errno == EINTR;
    d->queue_at = (d->queue_at + (size_t)done) % QUEUE;
    d->queue_len -= (size_t)done;
    a->len -= (uint32_t)done;
    if (a->len > 0)
      continue;
    d->first = (d->first + 1) % ANSWERS;
    d->n--;
  }
  return 1;
}

static int turn(ums_device *d, int fd) {
  uint8_t octets[4096];
  uint64_t now = now_ns();
  int64_t wait = TURN_NS;
  if (d->n > 0)
    wait = d->answers[d->first].due > now ? (int64_t)(d->answers[d->first].due - now) : 0;
  if (wait > TURN_NS)
    wait = TURN_NS;
  struct pollfd p = {.fd = fd, .events = POLLIN};
  ppoll(&p, 1, &(struct timespec){.tv_sec = 0, .tv_nsec = wait}, NULL);
  now = now_ns();
  umsa_device_time(&d->core, (uint32_t)(now / 1000000));
  if (p.revents & POLLIN) {
    const ssize_t got = read(fd, octets, sizeof octets);
    if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
      return 0;
    if (got > 0)
      take(d, octets, (size_t)got, now);
  } else if (p.revents & (POLLHUP | POLLERR | POLLNVAL)) {
    return 0;
  }
  return deliver(d, fd, now_ns());
}

ums_status ums_device_serve(ums_device *d, int fd, uint32_t baud) {
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    return UMS_SYSTEM;
  d->octet_ns = baud == 0 ? 0 : (uint64_t)BITS_PER_OCTET * 1000000000u / baud;
  d->serving = 1;
  d->rx_clock = d->cpu_clock = d->tx_clock = 0;
  while (!atomic_load(&d->stopping) && turn(d, fd)) {
  }
  umsa_device_forget(&d->core); /* the line dropped */
  return UMS_OK;
}

void ums_device_set_fault(ums_device *d, ums_device_fault fault) { atomic_store(&d->fault, fault); }
void ums_device_stop(ums_device *d) { atomic_store(&d->stopping, 1); }
