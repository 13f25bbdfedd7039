/*
 * The serial accelerator (firmware_bindings/PROTOCOL.md): the link to one, and the firmware's own protocol core as an
 * emulated device.
 */
#ifndef UMS_ACCEL_H
#define UMS_ACCEL_H

#include "ums.h"

/* -------------------------------------------------------------------------------------------------------- link -- */

/*
 * One descriptor to one device, and the thread that owns it between start and stop. The handshake is done by then. A
 * relay that it is attached to loads its session keys into slots and sends it packets; every packet comes back within
 * its deadline, done or not. What was not done runs on the context's CPU engine (shared custody) or is dropped (device
 * custody: no CPU ever does a packet, the host wipes keys once they are in slots, and waits with them until then).
 */
typedef struct ums_link ums_link;

typedef enum ums_custody { UMS_CUSTODY_SHARED = 0, UMS_CUSTODY_DEVICE = 1 } ums_custody;

typedef struct ums_link_config {
  ums_custody custody;
  uint32_t deadline_us; /* of one job, at most; 0 = 5000 */
  /* The model of the line; octet_ns 0: none, every job has deadline_us. With it a job has twice the time that the model
   * says, with what is on its way before it. What the model says is too late is not sent at all in shared custody, and
   * has its time in device custody. */
  uint32_t octet_ns, job_us, host_us;
  uint32_t verify_every; /* shared: of so many jobs to protect, one is compared with the CPU's result; 0 = none */
  uint32_t max_slots;    /* admission: no more are used; 0 = all of the device's */
} ums_link_config;

typedef enum ums_link_state {
  UMS_LINK_STOPPED = 0,
  UMS_LINK_UP = 1,
  UMS_LINK_MISSED = 2, /* too many deadlines missed: hung, late, corrupting or babbling */
  UMS_LINK_LOCKED = 3, /* the device has no session any more: it rebooted, or lost the heartbeat */
  UMS_LINK_GONE = 4,   /* the descriptor failed: unplugged */
  UMS_LINK_WRONG = 5,  /* a result differed from the CPU's */
  UMS_LINK_REFUSED = 6 /* it refuses jobs: it has no credits left, or contradicts itself */
} ums_link_state;

typedef struct ums_link_stats {
  ums_link_state state;
  uint32_t used_slots;
  uint64_t jobs, done;      /* handed to the device; answered well and in time */
  uint64_t missed, refused; /* deadlines; answers with a status that is neither OK nor AUTH_FAIL */
  uint64_t auth_fail, damaged, late, wrong, verified;
  uint64_t fallback;       /* packets that a CPU engine did instead, or nobody (device custody) */
  uint64_t loads, no_slot; /* keys loaded; contexts that got no slot */
  uint64_t round_trip_ns;  /* sum over `done` */
} ums_link_stats;

size_t ums_link_sizeof(void);
ums_status ums_link_init(ums_link *l, size_t len, const ums_link_config *cfg);
/* `transport`: 16 octets, or NULL for plain key loading. `slots` and `credits` are what HELLO said. */
ums_status ums_link_start(ums_link *l, int fd, const uint8_t *transport, uint32_t slots, uint32_t credits);
ums_status ums_link_stop(ums_link *l); /* joins the thread; the descriptor stays the caller's */
void ums_link_stats_get(const ums_link *l, ums_link_stats *out);
/* Before the relay starts, once; the link must outlive it. State changes are UMS_EVENT_ACCELERATOR. */
ums_status ums_relay_attach(ums_relay *r, ums_link *l);

/* --------------------------------------------------------------------------------------------- emulated device -- */

typedef struct ums_device ums_device;

typedef struct ums_device_config {
  uint8_t has_key, has_random, plain_load;
  uint16_t spoil_test; /* self-tests that come out wrong */
  uint32_t compute_us; /* of a job on the processor that is stood in for, where the line is paced */
  uint8_t key[32], boot_id[8], unit[8];
} ums_device_config;

typedef enum ums_device_fault { /* what goes wrong while a device serves */
                                UMS_FAULT_NONE = 0,
                                UMS_FAULT_HANG = 1,     /* takes everything, answers nothing */
                                UMS_FAULT_REBOOT = 2,   /* once: boots again, with another boot identity */
                                UMS_FAULT_BABBLE = 3,   /* noise instead of answers */
                                UMS_FAULT_CORRUPT = 4,  /* answers with a bit flipped */
                                UMS_FAULT_LATE = 5,     /* answers 120 ms late */
                                UMS_FAULT_WRONG = 6,    /* answers in good frames with wrong octets */
                                UMS_FAULT_BUSY = 7,     /* has no credits left: refuses every job */
                                UMS_FAULT_SELFTEST = 8, /* once: boots again, and fails its self-test */
                                UMS_FAULT_DISTURBED = 9 /* once: a bit of each loaded key falls over */
} ums_device_fault;

size_t ums_device_sizeof(void);
ums_status ums_device_init(ums_device *d, size_t len, const ums_device_config *cfg); /* boots */
/* Octets in, octets out, at the time `now_ms`. Returns how many; what does not fit into `room` is lost. */
size_t ums_device_feed(ums_device *d, uint32_t now_ms, const uint8_t *in, size_t len, uint8_t *out, size_t room);
/* Serves a descriptor, which it makes non-blocking, until ums_device_stop or the other side hangs up. `baud` 0: as fast
 * as it can; else octets take ten bit times each way. */
ums_status ums_device_serve(ums_device *d, int fd, uint32_t baud);
void ums_device_set_fault(ums_device *d, ums_device_fault fault); /* from any thread, as the next one */
void ums_device_stop(ums_device *d);

#endif
