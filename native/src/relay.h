/*
 * Inside of the relay: what its source files share.
 *
 *   relay.c        memory, life cycle, the public calls
 *   relay_leg.c    one leg between two bursts: sockets, addresses, mode, keys, timers, counters
 *   relay_path.c   one burst of datagrams: class, direction, SRTP, verdicts, events
 *   relay_early.c  packets that wait for keys
 *   relay_linux.c  the system: UDP sockets, epoll, recvmmsg and sendmmsg, clock, the thread's loop
 *
 * Who touches what. A public call takes `control`, puts a command into the ring and waits until the thread has run it
 * between two bursts. So legs, keys and counters belong to the thread alone while it runs, and the packet path takes no
 * lock. Before the thread starts and after it has ended the caller runs the command itself.
 */
#ifndef UMS_RELAY_H
#define UMS_RELAY_H

#include <netinet/in.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <sys/socket.h>

#include "demux.h"
#include "ring.h"
#include "ums.h"
#include "ums_accel.h"

#define RELAY_BURST 64         /* datagrams that go through SRTP together */
#define RELAY_PER_SOCKET 32    /* of one socket per wake-up, so that no leg starves another */
#define RELAY_STRIDE 2240      /* between packet buffers: above UMS_MAX_PACKET, a multiple of 64, not of 4096 */
#define RELAY_EARLY_PER_LEG 50 /* DTLS-9; not above RELAY_BURST */
#define RELAY_EARLY_MS 500
#define RELAY_LIMIT_MS 1000 /* rate-limited events and per-second counts */

enum { NET_RTP, NET_RTCP, LOOP_RTP, LOOP_RTCP, RELAY_SOCKETS };

/* Kinds of control datagrams: whoever floods one starves no other. */
enum { KIND_DTLS_PEER, KIND_DTLS, KIND_STUN_PEER, KIND_STUN, RELAY_KINDS };

typedef struct relay_address {
  socklen_t len; /* 0: none */
  union {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
  } u;
} relay_address;

typedef struct relay_ssrcs { /* SSRCs that were already reported; the oldest is forgotten when full */
  uint32_t *ssrc;
  uint32_t n, next, capacity;
} relay_ssrcs;

typedef struct relay_keys { /* an installed context */
  ums_srtp *ctx;            /* NULL: none */
  uint8_t suite, told_soft, told_expired, seen;
  /* An accelerator's slots, for RTP and RTCP: see relay_offload.c. */
  uint8_t slot[2], slot_state[2]; /* slot: number + 1 */
  uint8_t slot_bound[2];
  uint32_t slot_ssrc[2];
} relay_keys;

typedef struct relay_part {         /* keys of RTP and RTCP, or of one of them */
  relay_keys send, receive, former; /* `former` is accepted until former_until (SDES-17) */
  uint64_t former_until;
  uint32_t grace_ms;
} relay_part;

typedef struct relay_leg {
  uint32_t id; /* 0: free */
  uint8_t mode, never_plain, learn_peer, ice;
  int fd[RELAY_SOCKETS];               /* -1: muxed with RTP */
  uint8_t family[RELAY_SOCKETS];       /* of the socket: 4 or 6 */
  relay_address remote[RELAY_SOCKETS]; /* the peer's and the dialer's ends */

  relay_part part[2]; /* RTP and, unless `split`, RTCP; RTCP alone */
  uint8_t split;
  const ums_engine *engine; /* NULL: chosen per suite */

  relay_ssrcs heard, spoken, held;
  uint64_t installed_at, accepted_at, silent_since, idle_ms;
  uint8_t has_keys, told_idle, touched;
  uint8_t n_early;      /* packets that wait for keys */
  uint64_t burst_until; /* end of the running second of authentication failures; 0: none */
  uint32_t burst_count;
  uint64_t control_until; /* end of the running second of control datagrams */
  uint32_t control_count[RELAY_KINDS];
  uint64_t quiet_until[32]; /* by event kind */

  ums_leg_stats totals;   /* without contexts */
  ums_srtp_stats gone[2]; /* of contexts already wiped, by direction */
} relay_leg;

typedef struct relay_item { /* one datagram of the burst */
  relay_leg *leg;
  uint8_t *data;
  uint32_t len;
  uint8_t in, out; /* sockets */
  uint8_t rtcp;
  uint8_t go; /* 1: leaves through `out` */
  relay_address from;
} relay_item;

typedef struct relay_early { /* a packet that waits for keys */
  relay_leg *leg;            /* NULL: free */
  uint64_t order, until;     /* as it came; ms */
  relay_address from;
  uint32_t len;
  uint8_t in;
  uint8_t data[UMS_MAX_PACKET];
} relay_early;

typedef struct relay_batch { /* what one call of protect or unprotect takes */
  size_t n;
  ums_srtp *ctx[RELAY_BURST];
  ums_packet packet[RELAY_BURST];
  relay_item *item[RELAY_BURST];
} relay_batch;

typedef ums_status relay_run(ums_relay *r, relay_leg *leg, void *args);

typedef struct relay_command {
  relay_run *run;
  relay_leg *leg;
  void *args;
  ums_status status;
} relay_command;

typedef struct relay_pool { /* contexts of one size; flags are taken by callers and cleared by the thread */
  uint8_t *base;
  size_t size;
  uint32_t n;
  _Atomic uint8_t *used;
} relay_pool;

enum relay_state { RELAY_NEW = 1, RELAY_RUNNING, RELAY_STOPPED };

struct ums_relay {
  uint32_t fork_mark; /* see relay.c */
  uint32_t state;
  ums_relay_config cfg;
  pthread_mutex_t control;
  sem_t done;
  pthread_t thread;
  _Atomic uint32_t stopping;
  int epoll_fd, wake_fd, event_fd;

  ums_spsc commands, events, controls;
  uint32_t lost;    /* events that found the ring full and were not yet reported */
  uint8_t announce; /* the event fd has to be written */
  uint32_t last_id;
  relay_leg *legs;
  relay_pool pool[2]; /* by direction */

  uint64_t now, next_due; /* ms */
  size_t n_items;
  relay_item items[RELAY_BURST];
  relay_batch protect, unprotect, retry;
  struct mmsghdr in[RELAY_BURST], out[RELAY_BURST];
  struct iovec in_vec[RELAY_BURST], out_vec[RELAY_BURST];
  uint8_t *buffers;
  relay_early *early;
  uint64_t early_order;
  ums_link *link; /* NULL: no accelerator */
};

/* relay.c */
void relay_emit(ums_relay *r, const relay_leg *leg, ums_event_kind kind, uint32_t a, uint32_t b);
/* At most one event of this kind per leg and second. */
void relay_emit_limited(ums_relay *r, relay_leg *leg, ums_event_kind kind, uint32_t a, uint32_t b);
void relay_report_lost(ums_relay *r);
void relay_run_commands(ums_relay *r);
void relay_pool_release(ums_relay *r, int direction, ums_srtp *ctx); /* wipes */
int relay_ssrcs_add(relay_ssrcs *set, uint32_t ssrc);                /* 1 when it is new */

/* relay_leg.c */
typedef struct relay_install_args {
  relay_keys send, receive;
  uint32_t grace_ms, grace_max_ms;
  ums_part part;
} relay_install_args;

typedef struct relay_remote_args {
  const ums_address *rtp, *rtcp;
} relay_remote_args;

typedef struct relay_send_args {
  int rtcp;
  const ums_address *to;
  const uint8_t *data;
  size_t len;
} relay_send_args;

typedef struct relay_streams_args {
  int direction;
  ums_stream_stats *out;
  size_t max, n;
} relay_streams_args;

relay_run relay_leg_open;        /* const ums_leg_config */
relay_run relay_leg_close;       /* none */
relay_run relay_leg_set_dialer;  /* relay_remote_args */
relay_run relay_leg_set_peer;    /* relay_remote_args */
relay_run relay_leg_set_mode;    /* ums_leg_mode */
relay_run relay_leg_set_ice;     /* int */
relay_run relay_leg_install;     /* relay_install_args */
relay_run relay_leg_set_engine;  /* const ums_engine, or NULL */
relay_run relay_leg_send;        /* relay_send_args */
relay_run relay_leg_stats_get;   /* ums_leg_stats */
relay_run relay_leg_streams_get; /* relay_streams_args */
static inline relay_part *relay_part_of(relay_leg *leg, int rtcp) { return &leg->part[leg->split && rtcp]; }
void relay_legs_tick(ums_relay *r); /* fires what is due and finds the next due time */
void relay_due(ums_relay *r, uint64_t at);

/* relay_path.c */
/* The burst in r->items leaves this function handled: forwarded or counted. */
void relay_path_run(ums_relay *r);

/* A single packet's end: again with the former keys where that may help, verdict, events. `item` has its data. */
void relay_path_result(ums_relay *r, relay_item *item, ums_packet *packet, int direction);

/* relay_offload.c; called with r->link set */
void relay_offload_install(ums_relay *r, relay_leg *leg, relay_keys *keys, int direction); /* asks for slots */
void relay_offload_forget(ums_relay *r, relay_keys *keys); /* its packets under way end here; slots are cleared */
/* 1: the accelerator has the packet, or its fate is settled. 0: not for it. */
int relay_offload_take(ums_relay *r, relay_item *item, int direction);
void relay_offload_drain(ums_relay *r); /* what came back leaves; the link's state is looked at */
int relay_offload_serves(const ums_relay *r, const relay_keys *keys);  /* the device and nobody else, if anybody */
int relay_offload_crowded(const ums_relay *r, const relay_keys *keys); /* device custody: they got no slot */

/* relay_early.c */
int relay_early_keep(ums_relay *r, const relay_item *item); /* 0: no room, or switched off */
void relay_early_release(ums_relay *r, relay_leg *leg);     /* keys have come; not within a burst */
void relay_early_forget(ums_relay *r, const relay_leg *leg);
void relay_early_tick(ums_relay *r);

/* relay_linux.c; functions that return int answer 0 or an errno */
int relay_system_open(ums_relay *r);
void relay_system_close(ums_relay *r);
int relay_system_start(ums_relay *r);
void relay_system_join(ums_relay *r);
void relay_wake(ums_relay *r);
void relay_announce(ums_relay *r); /* the event fd becomes readable */
void relay_announce_clear(ums_relay *r);
void relay_clock(ums_relay *r); /* sets r->now */
int relay_link_add(ums_relay *r, int fd);
int relay_socket_check(int fd, uint8_t *family);
int relay_socket_add(ums_relay *r, const relay_leg *leg, int socket);
void relay_socket_remove(ums_relay *r, int fd);
void relay_socket_close(int fd);
int relay_socket_connect(int fd, const relay_address *to);
int relay_socket_send(int fd, const relay_address *to, const uint8_t *data, size_t len);
void relay_send_burst(ums_relay *r); /* items with `go` */
/* 0 when `from` cannot be a destination of a socket of this family. */
int relay_address_from(relay_address *out, const ums_address *from, uint8_t family);
void relay_address_to(ums_address *out, const relay_address *from);
int relay_address_equal(const relay_address *a, const relay_address *b);

#endif
