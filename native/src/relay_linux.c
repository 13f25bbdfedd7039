/* The relay's side of the system: UDP sockets, epoll, batched receive and send, clock, the thread and its loop. */
#include <arpa/inet.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "core.h"
#include "relay.h"

#define EVENTS_PER_TURN 64
#define LONGEST_WAIT_MS 10000
#define LINK (UINT32_MAX - 1) /* epoll's tag of the link's done_fd */
#define WAKE UINT32_MAX       /* epoll's tag of wake_fd; sockets have leg * RELAY_SOCKETS + socket */

/* ------------------------------------------------------------------------------------------------- addresses -- */

static int is_unspecified(const ums_address *a) {
  static const uint8_t zeros[16];
  return memcmp(a->octets, zeros, a->family == 4 ? 4 : 16) == 0;
}

int relay_address_from(relay_address *out, const ums_address *from, uint8_t family) {
  if ((from->family != 4 && from->family != 6) || from->port == 0 || is_unspecified(from))
    return 0;
  if (from->family == 6 && family == 4)
    return 0;
  memset(out, 0, sizeof *out);
  if (family == 4) {
    out->len = sizeof out->u.v4;
    out->u.v4.sin_family = AF_INET;
    out->u.v4.sin_port = htons(from->port);
    memcpy(&out->u.v4.sin_addr, from->octets, 4);
    return 1;
  }
  out->len = sizeof out->u.v6;
  out->u.v6.sin6_family = AF_INET6;
  out->u.v6.sin6_port = htons(from->port);
  out->u.v6.sin6_scope_id = from->scope;
  if (from->family == 6) {
    memcpy(&out->u.v6.sin6_addr, from->octets, 16);
  } else { /* IPv4 seen by an IPv6 socket: RFC 4291, 2.5.5.2 */
    out->u.v6.sin6_addr.s6_addr[10] = out->u.v6.sin6_addr.s6_addr[11] = 0xff;
    memcpy(&out->u.v6.sin6_addr.s6_addr[12], from->octets, 4);
  }
  return 1;
}

void relay_address_to(ums_address *out, const relay_address *from) {
  memset(out, 0, sizeof *out);
  if (from->u.any.sa_family == AF_INET) {
    out->family = 4;
    out->port = ntohs(from->u.v4.sin_port);
    memcpy(out->octets, &from->u.v4.sin_addr, 4);
    return;
  }
  const uint8_t *octets = from->u.v6.sin6_addr.s6_addr;
  int mapped = IN6_IS_ADDR_V4MAPPED(&from->u.v6.sin6_addr);
  out->family = mapped ? 4 : 6;
  out->port = ntohs(from->u.v6.sin6_port);
  out->scope = from->u.v6.sin6_scope_id;
  memcpy(out->octets, mapped ? octets + 12 : octets, mapped ? 4 : 16);
}

int relay_address_equal(const relay_address *a, const relay_address *b) {
  if (a->len != b->len || a->u.any.sa_family != b->u.any.sa_family)
    return 0;
  if (a->u.any.sa_family == AF_INET)
    return a->u.v4.sin_port == b->u.v4.sin_port && a->u.v4.sin_addr.s_addr == b->u.v4.sin_addr.s_addr;
  /* A scope that was not given (0) means whatever interface the kernel finds. */
  uint32_t one = a->u.v6.sin6_scope_id, other = b->u.v6.sin6_scope_id;
  return a->u.v6.sin6_port == b->u.v6.sin6_port && (one == other || one == 0 || other == 0) &&
         memcmp(&a->u.v6.sin6_addr, &b->u.v6.sin6_addr, 16) == 0;
}

/* --------------------------------------------------------------------------------------------------- sockets -- */

int relay_socket_check(int fd, uint8_t *family) {
  struct sockaddr_storage name;
  socklen_t len = sizeof name;
  int type = 0;
  socklen_t type_len = sizeof type;
  if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_len) != 0 ||
      getsockname(fd, (struct sockaddr *)&name, &len) != 0)
    return errno;
  if (type != SOCK_DGRAM || (name.ss_family != AF_INET && name.ss_family != AF_INET6))
    return EINVAL;
  *family = name.ss_family == AF_INET ? 4 : 6;
  return 0;
}

int relay_socket_add(ums_relay *r, const relay_leg *leg, int socket) {
  struct epoll_event event = {.events = EPOLLIN};
  event.data.u32 = (uint32_t)(leg - r->legs) * RELAY_SOCKETS + (uint32_t)socket;
  return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, leg->fd[socket], &event) == 0 ? 0 : errno;
}

int relay_link_add(ums_relay *r, int fd) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = LINK};
  return epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0 ? 0 : errno;
}

void relay_socket_remove(ums_relay *r, int fd) { epoll_ctl(r->epoll_fd, EPOLL_CTL_DEL, fd, NULL); }

void relay_socket_close(int fd) { close(fd); }

int relay_socket_connect(int fd, const relay_address *to) { return connect(fd, &to->u.any, to->len) == 0 ? 0 : errno; }

int relay_socket_send(int fd, const relay_address *to, const uint8_t *data, size_t len) {
  return sendto(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL, &to->u.any, to->len) >= 0 ? 0 : errno;
}

/* Errors that say something about the way or the far end, not about the socket. */
static int is_passing(int error) {
  switch (error) {
  case EAGAIN:
  case EINTR:
  case ECONNREFUSED:
  case EHOSTUNREACH:
  case EHOSTDOWN:
  case ENETUNREACH:
  case ENETDOWN:
  case EMSGSIZE:
  case ENOBUFS:
  case ENOMEM:
  case EPROTO:
  case ENOPROTOOPT:
  case EACCES:
  case EPERM:
    return 1;
  default:
    return 0;
  }
}

/* ----------------------------------------------------------------------------------------- receive and send -- */

static void receive(ums_relay *r, relay_leg *leg, int socket) {
  size_t room = RELAY_BURST - r->n_items;
  if (room > RELAY_PER_SOCKET)
    room = RELAY_PER_SOCKET;
  int got = recvmmsg(leg->fd[socket], &r->in[r->n_items], (unsigned)room, MSG_DONTWAIT, NULL);
  if (got < 0) {
    if (errno == EAGAIN || errno == EINTR)
      return;
    leg->totals.send_errors++; /* an ICMP answer to something that was sent, or worse */
    if (is_passing(errno))
      return;
    relay_emit(r, leg, UMS_EVENT_SOCKET, (uint32_t)errno, 0);
    relay_socket_remove(r, leg->fd[socket]);
    return;
  }
  for (int i = 0; i < got; i++, r->n_items++) {
    struct msghdr *hdr = &r->in[r->n_items].msg_hdr;
    relay_item *item = &r->items[r->n_items];
    item->leg = leg;
    item->data = r->in_vec[r->n_items].iov_base;
    /* A datagram that did not fit is of no known class. */
    item->len = hdr->msg_flags & MSG_TRUNC ? 0 : r->in[r->n_items].msg_len;
    item->in = (uint8_t)socket;
    item->go = 0;
    item->from.len = hdr->msg_namelen;
    hdr->msg_namelen = sizeof item->from.u;
  }
}

static void count_sent(const relay_item *item) {
  ums_leg_stats *totals = &item->leg->totals;
  int plain = item->leg->mode == UMS_LEG_PLAIN;
  if (item->out == LOOP_RTP || item->out == LOOP_RTCP) {
    totals->to_dialer++;
    totals->plain_received += (uint64_t)plain;
  } else {
    totals->plain_sent += (uint64_t)plain;
  }
}

/* `n` datagrams of consecutive items, all from one socket. */
static void send_run(ums_relay *r, int fd, relay_item *const items[], size_t n) {
  size_t sent = 0;
  int again = 0;
  while (sent < n) {
    int done = sendmmsg(fd, &r->out[sent], (unsigned)(n - sent), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (done > 0) {
      for (int i = 0; i < done; i++)
        count_sent(items[sent + (size_t)i]);
      sent += (size_t)done;
      again = 0;
      continue;
    }
    if (errno == EINTR)
      continue;
    items[sent]->leg->totals.send_errors++;
    /* ECONNREFUSED belongs to an earlier datagram: this one has not been tried yet. */
    if (errno == ECONNREFUSED && !again)
      again = 1;
    else
      sent++, again = 0;
  }
}

void relay_send_burst(ums_relay *r) {
  relay_item *run[RELAY_BURST];
  size_t n = 0;
  int fd = -1;
  for (size_t i = 0; i < r->n_items; i++) {
    relay_item *item = &r->items[i];
    if (!item->go)
      continue;
    int to_fd = item->leg->fd[item->out];
    if (n > 0 && to_fd != fd) {
      send_run(r, fd, run, n);
      n = 0;
    }
    fd = to_fd;
    relay_address *to = &item->leg->remote[item->out];
    int connected = item->out == LOOP_RTP || item->out == LOOP_RTCP;
    r->out_vec[n] = (struct iovec){.iov_base = item->data, .iov_len = item->len};
    r->out[n].msg_hdr = (struct msghdr){.msg_iov = &r->out_vec[n],
                                        .msg_iovlen = 1,
                                        .msg_name = connected ? NULL : &to->u,
                                        .msg_namelen = connected ? 0 : to->len};
    run[n++] = item;
  }
  if (n > 0)
    send_run(r, fd, run, n);
}

/* --------------------------------------------------------------------------------------------------- thread -- */

void relay_clock(ums_relay *r) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
  r->now = (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static void write_one(int fd) {
  uint64_t one = 1;
  while (write(fd, &one, sizeof one) < 0 && errno == EINTR) {
  }
}

static void read_all(int fd) {
  uint64_t count;
  while (read(fd, &count, sizeof count) < 0 && errno == EINTR) {
  }
}

void relay_wake(ums_relay *r) { write_one(r->wake_fd); }
void relay_announce(ums_relay *r) { write_one(r->event_fd); }
void relay_announce_clear(ums_relay *r) { read_all(r->event_fd); }

int relay_system_open(ums_relay *r) {
  struct epoll_event event = {.events = EPOLLIN, .data.u32 = WAKE};
  r->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  r->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  r->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  if (r->epoll_fd >= 0 && r->wake_fd >= 0 && r->event_fd >= 0 &&
      epoll_ctl(r->epoll_fd, EPOLL_CTL_ADD, r->wake_fd, &event) == 0)
    return 0;
  int error = errno;
  relay_system_close(r);
  return error;
}

void relay_system_close(ums_relay *r) {
  int *fds[] = {&r->epoll_fd, &r->wake_fd, &r->event_fd};
  for (size_t i = 0; i < 3; i++) {
    if (*fds[i] >= 0)
      close(*fds[i]);
    *fds[i] = -1;
  }
}

static int wait_ms(const ums_relay *r) {
  uint64_t left = r->next_due <= r->now ? 0 : r->next_due - r->now;
  return left > LONGEST_WAIT_MS ? LONGEST_WAIT_MS : (int)left;
}

static void finish_burst(ums_relay *r) {
  if (r->n_items > 0)
    relay_path_run(r);
  r->n_items = 0;
  relay_run_commands(r);
}

static void turn(ums_relay *r) {
  struct epoll_event events[EVENTS_PER_TURN];
  int n = epoll_wait(r->epoll_fd, events, EVENTS_PER_TURN, wait_ms(r));
  int link = 0;
  relay_clock(r);
  for (int i = 0; i < n; i++) {
    if (events[i].data.u32 == LINK) {
      link = 1;
      continue;
    }
    if (events[i].data.u32 == WAKE) {
      read_all(r->wake_fd);
      continue;
    }
    relay_leg *leg = &r->legs[events[i].data.u32 / RELAY_SOCKETS];
    int socket = (int)(events[i].data.u32 % RELAY_SOCKETS);
    if (leg->id == 0 || leg->fd[socket] < 0)
      continue; /* closed by a command of this turn */
    receive(r, leg, socket);
    if (RELAY_BURST - r->n_items < RELAY_PER_SOCKET / 2)
      finish_burst(r);
  }
  finish_burst(r);
  if (link)
    relay_offload_drain(r);
  relay_legs_tick(r);
  if (r->announce)
    relay_announce(r);
  r->announce = 0;
}

static void *loop(void *arg) {
  ums_relay *r = arg;
  while (!atomic_load_explicit(&r->stopping, memory_order_acquire))
    turn(r);
  ums_scrub_stack(); /* the system may hand this stack to another thread as it is */
  return NULL;
}

int relay_system_start(ums_relay *r) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the program's, never this thread's */
  int error = pthread_create(&r->thread, NULL, loop, r);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (error == 0)
    pthread_setname_np(r->thread, "ums-relay");
  return error;
}

void relay_system_join(ums_relay *r) {
  atomic_store_explicit(&r->stopping, 1, memory_order_release);
  relay_wake(r);
  pthread_join(r->thread, NULL);
}
