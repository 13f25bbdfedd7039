/*
 * The link's thread: frames, credits, deadlines, retransmission of control requests, the heartbeat. It knows nothing of
 * RTP. Whatever happens, every entry goes back to the relay, in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "link.h"

#define DEADLINE_US 5000
#define CONTROL_NS 100000000u /* PROTOCOL.md: five tries of 100 ms */
#define CONTROL_TRIES 5
#define HEARTBEAT_NS 500000000u
#define LONGEST_WAIT_NS 100000000u
#define WINDOW 100 /* jobs */
#define MISSES 3   /* of a window: the circuit opens */
#define HEARTBEAT UINT16_MAX

uint64_t link_now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void ring_bell(int fd) {
  const uint64_t one = 1;
  while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

void link_go_down(ums_link *l, ums_link_state why) {
  unsigned up = UMS_LINK_UP;
  if (atomic_compare_exchange_strong(&l->state, &up, why)) {
    ring_bell(l->done_fd);
    ring_bell(l->wake_fd);
  }
}

int link_submit(ums_link *l, uint32_t entry, int priority) {
  uint32_t *slot = link_up(l) ? ums_spsc_reserve(&l->ring[priority]) : NULL;
  if (slot == NULL)
    return 0;
  *slot = entry;
  ums_spsc_commit(&l->ring[priority]);
  ring_bell(l->wake_fd);
  return 1;
}

/* ------------------------------------------------------------------------------------------------------ entries -- */

static int is_job(const link_entry *e) { return e->head.op >= UMSA_OP_PROTECT; }

static void give_back(ums_link *l, uint32_t n, uint8_t status) {
  l->entry[n].status = status;
  uint32_t *slot = ums_spsc_reserve(&l->done); /* as many places as entries */
  if (slot == NULL)
    return;
  *slot = n;
  ums_spsc_commit(&l->done);
  ring_bell(l->done_fd);
}

static void take_out(ums_link *l, uint8_t seq) {
  l->by_seq[seq] = 0;
  l->outstanding--;
}

/* Puts a frame into the output; what finds no room was too much for the line and misses its deadline. */
static void put_out(ums_link *l, const umsa_head *head, const uint8_t *body, size_t len, uint64_t now) {
  if (l->out_at > 0) {
    memmove(l->out, l->out + l->out_at, l->out_len);
    l->out_at = 0;
  }
  l->out_len += umsa_encode(head, body, len, l->out + l->out_len, sizeof l->out - l->out_len);
  l->sent_at = now;
}

static void send_entry(ums_link *l, uint32_t n, uint64_t now) {
  link_entry *e = &l->entry[n];
  while (l->by_seq[++l->seq] != 0) {
  }
  e->head.seq = l->seq;
  e->tries = 1;
  if (!is_job(e))
    e->deadline = now + CONTROL_NS;
  l->by_seq[l->seq] = (uint16_t)(n + 1);
  l->outstanding++;
  if (is_job(e))
    link_count(&l->jobs, 1);
  put_out(l, &e->head, e->body, e->body_len, now);
}

static void send_heartbeat(ums_link *l, uint64_t now) {
  while (l->by_seq[++l->seq] != 0) {
  }
  put_out(l, &(umsa_head){.op = UMSA_OP_STATUS, .seq = l->seq}, NULL, 0, now);
}

static void take_submitted(ums_link *l, uint64_t now) {
  for (int p = 0; p < LINK_PRIORITIES; p++) {
    uint32_t *n;
    while ((n = ums_spsc_peek(&l->ring[p])) != NULL) {
      const uint32_t entry = *n;
      if (!link_up(l)) {
        ums_spsc_release(&l->ring[p]);
        give_back(l, entry, LINK_LOST);
        continue;
      }
      if (l->outstanding >= l->credits || sizeof l->out - l->out_len < UMSA_MAX_ENCODED)
        return;
      ums_spsc_release(&l->ring[p]);
      if (is_job(&l->entry[entry]) && l->entry[entry].deadline <= now) {
        link_count(&l->missed, 1);
        give_back(l, entry, LINK_MISSED);
        continue;
      }
      send_entry(l, entry, now);
    }
  }
}

/* `failure`: the state that enough of them lead to, or UMS_LINK_UP for a job that went well. */
static void count_job(ums_link *l, ums_link_state failure) {
  if (l->in_window++ >= WINDOW)
    l->in_window = l->misses = 0;
  if (failure != UMS_LINK_UP && ++l->misses >= MISSES)
    link_go_down(l, failure);
}

/* Deadlines; returns the next one. */
static uint64_t look_at_deadlines(ums_link *l, uint64_t now) {
  uint64_t next = now + LONGEST_WAIT_NS;
  const int up = link_up(l);
  for (int seq = 0; seq < 256 && l->outstanding > 0; seq++) {
    if (l->by_seq[seq] == 0)
      continue;
    const uint32_t n = l->by_seq[seq] - 1u;
    link_entry *e = &l->entry[n];
    if (!up) {
      take_out(l, (uint8_t)seq);
      give_back(l, n, LINK_LOST);
    } else if (e->deadline > now) {
      next = e->deadline < next ? e->deadline : next;
    } else if (is_job(e)) {
      take_out(l, (uint8_t)seq);
      link_count(&l->missed, 1);
      count_job(l, UMS_LINK_MISSED);
      give_back(l, n, LINK_MISSED);
    } else if (e->tries < CONTROL_TRIES) {
      e->tries++;
      e->deadline = now + CONTROL_NS;
      put_out(l, &e->head, e->body, e->body_len, now);
    } else {
      take_out(l, (uint8_t)seq);
      give_back(l, n, LINK_MISSED);
      link_go_down(l, UMS_LINK_MISSED);
    }
  }
  return next;
}

/* ------------------------------------------------------------------------------------------------------ answers -- */

static void take_answer(ums_link *l, uint64_t now) {
  const uint8_t *frame = l->receiver.frame;
  const uint8_t op = frame[0], seq = frame[1], status = frame[3];
  const size_t len = umsa_body_len(&l->receiver);
  if (status == UMSA_STATUS_LOCKED || status == UMSA_STATUS_SELFTEST_FAIL) {
    link_go_down(l, UMS_LINK_LOCKED);
    return;
  }
  if (status == UMSA_STATUS_INTERNAL) { /* it has forgotten its keys */
    link_go_down(l, UMS_LINK_WRONG);
    return;
  }
  if (op == UMSA_OP_NAK || op == UMSA_OP_STATUS)
    return;
  link_entry *e = l->by_seq[seq] != 0 ? &l->entry[l->by_seq[seq] - 1] : NULL;
  if (e == NULL || e->head.op != op || e->head.slot != frame[2]) {
    link_count(&l->late, 1);
    return;
  }
  const uint32_t n = l->by_seq[seq] - 1u;
  take_out(l, seq);
  if (is_job(e)) { /* other refusals come from what is in the packet, or from a slot cleared meanwhile */
    count_job(l, status == UMSA_STATUS_BUSY ? UMS_LINK_REFUSED : UMS_LINK_UP);
    link_count(status == UMSA_STATUS_OK          ? &l->answered
               : status == UMSA_STATUS_AUTH_FAIL ? &l->auth_fail
                                                 : &l->refused,
               1);
    if (status == UMSA_STATUS_OK)
      link_count(&l->round_trip_ns, now - e->submitted);
  }
  e->body_len = (uint16_t)len;
  memcpy(e->body, frame + UMSA_HEAD, len);
  give_back(l, n, status);
}

static void read_line(ums_link *l) {
  uint8_t octets[4096];
  const ssize_t got = read(l->fd, octets, sizeof octets);
  if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR)) {
    l->deaf = 1;
    link_go_down(l, UMS_LINK_GONE);
    return;
  }
  const uint64_t now = link_now();
  size_t left = got > 0 ? (size_t)got : 0;
  for (const uint8_t *p = octets; left > 0;) {
    int found;
    const size_t n = umsa_receive(&l->receiver, p, left, &found);
    p += n;
    left -= n;
    if (found == UMSA_FRAME)
      take_answer(l, now);
    else if (found == UMSA_DAMAGED)
      link_count(&l->damaged, 1);
  }
}

static void write_line(ums_link *l) {
  const ssize_t done = write(l->fd, l->out + l->out_at, l->out_len);
  if (done < 0) {
    if (errno != EAGAIN && errno != EINTR)
      link_go_down(l, UMS_LINK_GONE);
    return;
  }
  l->out_at = done == (ssize_t)l->out_len ? 0 : l->out_at + (size_t)done;
  l->out_len -= (size_t)done;
}

static void turn(ums_link *l) {
  uint64_t now = link_now();
  take_submitted(l, now);
  uint64_t next = look_at_deadlines(l, now);
  const int up = link_up(l);
  if (up && now - l->sent_at > HEARTBEAT_NS)
    send_heartbeat(l, now);
  if (up && l->out_len > 0)
    write_line(l);
  struct pollfd p[2] = {{.fd = l->wake_fd, .events = POLLIN},
                        {.fd = l->deaf ? -1 : l->fd, .events = (short)(POLLIN | (up && l->out_len > 0 ? POLLOUT : 0))}};
  now = link_now();
  const uint64_t wait = next > now ? next - now : 0;
  ppoll(p, 2, &(struct timespec){.tv_sec = 0, .tv_nsec = (long)wait}, NULL);
  if (p[0].revents & POLLIN) {
    uint64_t count;
    while (read(l->wake_fd, &count, sizeof count) < 0 && errno == EINTR) {
    }
  }
  if (p[1].revents & POLLIN)
    read_line(l);
  else if (p[1].revents & (POLLERR | POLLHUP | POLLNVAL)) {
    l->deaf = 1;
    link_go_down(l, UMS_LINK_GONE);
  }
}

static void *loop(void *arg) {
  ums_link *l = arg;
  while (!atomic_load_explicit(&l->stopping, memory_order_acquire))
    turn(l);
  link_go_down(l, UMS_LINK_STOPPED);
  turn(l); /* everything goes back */
  return NULL;
}

/* -------------------------------------------------------------------------------------------------- life cycle -- */

size_t ums_link_sizeof(void) { return sizeof(ums_link); }

ums_status ums_link_init(ums_link *l, size_t len, const ums_link_config *cfg) {
  if (l == NULL || cfg == NULL || cfg->custody > UMS_CUSTODY_DEVICE || ((uintptr_t)l & 63))
    return UMS_BAD_ARGUMENT;
  if (len < sizeof *l)
    return UMS_NO_ROOM;
  memset(l, 0, sizeof *l);
  l->cfg = *cfg;
  if (l->cfg.deadline_us == 0)
    l->cfg.deadline_us = DEADLINE_US;
  for (int p = 0; p < LINK_PRIORITIES; p++)
    ums_spsc_init(&l->ring[p], l->ring_memory[p], LINK_ENTRIES, sizeof(uint32_t));
  ums_spsc_init(&l->done, l->done_memory, LINK_ENTRIES, sizeof(uint32_t));
  l->fd = -1;
  l->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  l->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  return l->wake_fd >= 0 && l->done_fd >= 0 ? UMS_OK : UMS_SYSTEM;
}

static void set_transport(ums_link *l, const uint8_t *transport) {
  const uint8_t zero[12] = {0};
  uint8_t h[16] = {0};
  l->wrapped = transport != NULL;
  if (transport == NULL)
    return;
  ums_aes_init(&l->wrap_aes, transport, 16);
  ums_aes_ctr(&(ums_ctr_span){&l->wrap_aes, zero, h, sizeof h, 0}, 1);
  ums_ghash_init(&l->wrap_ghash, h);
  ums_wipe(h, sizeof h);
}

ums_status ums_link_start(ums_link *l, int fd, const uint8_t *transport, uint32_t slots, uint32_t credits) {
  if (l == NULL || slots > UMSA_SLOTS || credits == 0 || l->running)
    return UMS_BAD_ARGUMENT;
  const int flags = fcntl(fd, F_GETFL);
  if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
    return UMS_SYSTEM;
  l->fd = fd;
  l->slots = l->cfg.max_slots != 0 && l->cfg.max_slots < slots ? l->cfg.max_slots : slots;
  l->credits = credits < LINK_ENTRIES ? credits : LINK_ENTRIES;
  l->out_at = l->out_len = 0;
  l->in_window = l->misses = 0;
  l->receiver = (umsa_receiver){0};
  l->deaf = 0;
  l->sent_at = link_now();
  /* The relay reads this only when it sees the new generation, and only while the link is up. */
  set_transport(l, transport);
  l->counter = 0;
  atomic_fetch_add(&l->generation, 1);
  atomic_store(&l->stopping, 0);
  atomic_store_explicit(&l->state, UMS_LINK_UP, memory_order_release);
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's, never this thread's */
  const int error = pthread_create(&l->thread, NULL, loop, l);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error != 0) {
    atomic_store(&l->state, UMS_LINK_STOPPED);
    return UMS_SYSTEM;
  }
  pthread_setname_np(l->thread, "ums-link");
  l->running = 1;
  ring_bell(l->done_fd); /* the relay loads its keys */
  return UMS_OK;
}

ums_status ums_link_stop(ums_link *l) {
  if (l == NULL)
    return UMS_BAD_ARGUMENT;
  if (!l->running)
    return UMS_OK;
  atomic_store_explicit(&l->stopping, 1, memory_order_release);
  ring_bell(l->wake_fd);
  pthread_join(l->thread, NULL);
  l->running = 0;
  ums_wipe(&l->wrap_aes, sizeof l->wrap_aes);
  ums_wipe(&l->wrap_ghash, sizeof l->wrap_ghash);
  return UMS_OK;
}

void ums_link_stats_get(const ums_link *l, ums_link_stats *out) {
  *out = (ums_link_stats){.state = (ums_link_state)atomic_load(&l->state),
                          .used_slots = (uint32_t)atomic_load(&l->used_slots),
                          .jobs = atomic_load(&l->jobs),
                          .done = atomic_load(&l->answered),
                          .missed = atomic_load(&l->missed),
                          .refused = atomic_load(&l->refused),
                          .auth_fail = atomic_load(&l->auth_fail),
                          .damaged = atomic_load(&l->damaged),
                          .late = atomic_load(&l->late),
                          .wrong = atomic_load(&l->wrong),
                          .verified = atomic_load(&l->verified),
                          .fallback = atomic_load(&l->fallback),
                          .loads = atomic_load(&l->loads),
                          .no_slot = atomic_load(&l->no_slot),
                          .round_trip_ns = atomic_load(&l->round_trip_ns)};
}
