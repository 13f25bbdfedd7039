/*
 * The relay's memory, life cycle and public calls; relay.h says how the source files share the work.
 *
 * One piece of memory, laid out once:
 *
 *   ums_relay | legs | SSRC lists | contexts to send, to receive | their flags | command, event, control ring | buffers
 */
#include "relay.h"

#include <errno.h>
#include <string.h>

#include "core.h"

#define MAX_LEGS 16384
#define MAX_ENTRIES 65536
#define COMMANDS 4 /* one is enough: public calls serialise */

/* Contexts: each leg, and the RTCP of a split one, sends with one; it receives with two while keys change. One more of
 * each is being derived. */
#define SEND_CONTEXTS(cfg) ((uint64_t)(cfg)->max_legs + (cfg)->split_legs + 1)
#define RECEIVE_CONTEXTS(cfg) (2 * ((uint64_t)(cfg)->max_legs + (cfg)->split_legs) + 1)

/* ---------------------------------------------------------------------------------------------------- memory -- */

typedef struct layout {
  size_t legs, ssrcs, pool[2], used[2], commands, events, controls, buffers, early, total;
  size_t context[2];
} layout;

/* The largest context of this configuration: any suite, `n_keys` master keys told apart by MKI. */
static size_t context_size(const ums_relay_config *cfg, int direction, uint8_t n_keys) {
  static const uint8_t octets[64] = {1, 2, 3, 4}; /* stands for keys and salts; only lengths matter here */
  ums_master_key keys[UMS_MAX_KEYS];
  size_t largest = 0;
  for (size_t i = 0; i < UMS_MAX_KEYS; i++)
    keys[i] = (ums_master_key){.key = octets, .salt = octets, .mki = octets + i, .mki_len = 1};
  for (size_t i = 0; i < ums_suite_count(); i++) {
    ums_srtp_config one = {.suite = ums_suite_at(i)->suite,
                           .direction = (uint8_t)direction,
                           .n_keys = n_keys,
                           .max_ssrc = (uint16_t)cfg->max_ssrc,
                           .rtp_window = cfg->rtp_window_max,
                           .rtcp_window = cfg->rtp_window_max,
                           .keys = keys};
    size_t size = ums_srtp_sizeof(&one);
    if (size > largest)
      largest = size;
  }
  return (largest + 63) & ~(size_t)63;
}

static size_t take(uint64_t *at, uint64_t len) {
  uint64_t here = *at;
  *at += (len + 63) & ~(uint64_t)63;
  return (size_t)here;
}

static int lay_out(const ums_relay_config *cfg, layout *lay) {
  if (cfg->max_legs < 1 || cfg->max_legs > MAX_LEGS || cfg->max_ssrc < 1 || cfg->max_ssrc > 1024)
    return 0;
  if (cfg->split_legs > cfg->max_legs || cfg->early_packets > MAX_ENTRIES)
    return 0;
  if (cfg->rtp_window_max < 64 || cfg->rtp_window_max > UMS_MAX_WINDOW)
    return 0;
  if (cfg->event_capacity < 1 || cfg->event_capacity > MAX_ENTRIES)
    return 0;
  if (cfg->control_capacity < 1 || cfg->control_capacity > MAX_ENTRIES)
    return 0;
  uint64_t n = cfg->max_legs, at = 0;
  uint64_t contexts[2] = {SEND_CONTEXTS(cfg), RECEIVE_CONTEXTS(cfg)};
  take(&at, sizeof(ums_relay));
  lay->legs = take(&at, n * sizeof(relay_leg));
  lay->ssrcs = take(&at, n * 3 * cfg->max_ssrc * sizeof(uint32_t));
  for (int d = 0; d < 2; d++) {
    lay->context[d] = context_size(cfg, d, d == UMS_SEND ? 1 : UMS_MAX_KEYS);
    if (lay->context[d] == 0)
      return 0;
    lay->pool[d] = take(&at, contexts[d] * lay->context[d]);
    lay->used[d] = take(&at, contexts[d]);
  }
  lay->commands = take(&at, ums_spsc_memory(COMMANDS, sizeof(relay_command *)));
  lay->events = take(&at, ums_spsc_memory(cfg->event_capacity, sizeof(ums_event)));
  lay->controls = take(&at, ums_spsc_memory(cfg->control_capacity, sizeof(ums_control)));
  lay->buffers = take(&at, (uint64_t)RELAY_BURST * RELAY_STRIDE);
  lay->early = take(&at, (uint64_t)cfg->early_packets * sizeof(relay_early));
  lay->total = (size_t)at;
  return at <= SIZE_MAX;
}

size_t ums_relay_sizeof(const ums_relay_config *cfg) {
  layout lay;
  return cfg != NULL && lay_out(cfg, &lay) ? lay.total : 0;
}

static void init_legs(ums_relay *r, const layout *lay, uint8_t *base) {
  uint32_t *ssrcs = (uint32_t *)(base + lay->ssrcs);
  r->legs = (relay_leg *)(base + lay->legs);
  for (uint32_t i = 0; i < r->cfg.max_legs; i++) {
    relay_ssrcs *sets[] = {&r->legs[i].heard, &r->legs[i].spoken, &r->legs[i].held};
    for (size_t k = 0; k < 3; k++, ssrcs += r->cfg.max_ssrc)
      *sets[k] = (relay_ssrcs){.ssrc = ssrcs, .capacity = r->cfg.max_ssrc};
  }
}

static void init_bursts(ums_relay *r) {
  for (size_t i = 0; i < RELAY_BURST; i++) {
    r->in_vec[i] = (struct iovec){.iov_base = r->buffers + i * RELAY_STRIDE, .iov_len = UMS_MAX_PACKET};
    r->in[i].msg_hdr = (struct msghdr){.msg_iov = &r->in_vec[i],
                                       .msg_iovlen = 1,
                                       .msg_name = &r->items[i].from.u,
                                       .msg_namelen = sizeof r->items[i].from.u};
  }
}

ums_status ums_relay_init(ums_relay *r, size_t len, const ums_relay_config *cfg) {
  layout lay;
  if (r == NULL || cfg == NULL || !lay_out(cfg, &lay))
    return UMS_BAD_ARGUMENT;
  if (len < lay.total || (uintptr_t)r % 64 != 0)
    return UMS_NO_ROOM;
  uint8_t *base = (uint8_t *)r;
  memset(base, 0, lay.total);
  r->cfg = *cfg;
  init_legs(r, &lay, base);
  for (int d = 0; d < 2; d++)
    r->pool[d] = (relay_pool){.base = base + lay.pool[d],
                              .size = lay.context[d],
                              .n = (uint32_t)(d == UMS_SEND ? SEND_CONTEXTS(cfg) : RECEIVE_CONTEXTS(cfg)),
                              .used = (_Atomic uint8_t *)(base + lay.used[d])};
  ums_spsc_init(&r->commands, base + lay.commands, COMMANDS, sizeof(relay_command *));
  ums_spsc_init(&r->events, base + lay.events, cfg->event_capacity, sizeof(ums_event));
  ums_spsc_init(&r->controls, base + lay.controls, cfg->control_capacity, sizeof(ums_control));
  r->buffers = base + lay.buffers;
  r->early = (relay_early *)(base + lay.early);
  init_bursts(r);
  if (relay_system_open(r) != 0)
    return UMS_SYSTEM;
  if (pthread_mutex_init(&r->control, NULL) != 0 || sem_init(&r->done, 0, 0) != 0) {
    relay_system_close(r);
    return UMS_SYSTEM;
  }
  relay_clock(r);
  r->next_due = UINT64_MAX;
  r->state = RELAY_NEW;
  r->fork_mark = ums_fork_generation() + 1;
  return UMS_OK;
}

static ums_srtp *pool_take(ums_relay *r, int direction) {
  relay_pool *pool = &r->pool[direction];
  for (uint32_t i = 0; i < pool->n; i++)
    if (atomic_load_explicit(&pool->used[i], memory_order_acquire) == 0) {
      atomic_store_explicit(&pool->used[i], 1, memory_order_relaxed);
      return (ums_srtp *)(pool->base + i * pool->size);
    }
  return NULL;
}

void relay_pool_release(ums_relay *r, int direction, ums_srtp *ctx) {
  relay_pool *pool = &r->pool[direction];
  size_t i = (size_t)((uint8_t *)ctx - pool->base) / pool->size;
  ums_srtp_wipe(ctx);
  ums_wipe(ctx, pool->size);
  atomic_store_explicit(&pool->used[i], 0, memory_order_release);
}

int relay_ssrcs_add(relay_ssrcs *set, uint32_t ssrc) {
  for (uint32_t i = 0; i < set->n; i++)
    if (set->ssrc[i] == ssrc)
      return 0;
  set->ssrc[set->next] = ssrc;
  set->next = (set->next + 1) % set->capacity;
  if (set->n < set->capacity)
    set->n++;
  return 1;
}

/* ---------------------------------------------------------------------------------------------------- events -- */

void relay_emit(ums_relay *r, const relay_leg *leg, ums_event_kind kind, uint32_t a, uint32_t b) {
  ums_event *slot = NULL;
  relay_report_lost(r);
  if (r->lost == 0)
    slot = ums_spsc_reserve(&r->events);
  if (slot == NULL) {
    r->lost++;
    relay_due(r, r->now + RELAY_LIMIT_MS);
    return;
  }
  *slot = (ums_event){.kind = kind, .leg = leg == NULL ? 0 : leg->id, .a = a, .b = b};
  ums_spsc_commit(&r->events);
  r->announce = 1;
}

void relay_report_lost(ums_relay *r) {
  if (r->lost == 0)
    return;
  ums_event *slot = ums_spsc_reserve(&r->events);
  if (slot == NULL) {
    relay_due(r, r->now + RELAY_LIMIT_MS);
    return;
  }
  *slot = (ums_event){.kind = UMS_EVENT_LOST, .a = r->lost};
  ums_spsc_commit(&r->events);
  r->lost = 0;
  r->announce = 1;
}

void relay_emit_limited(ums_relay *r, relay_leg *leg, ums_event_kind kind, uint32_t a, uint32_t b) {
  if (r->now < leg->quiet_until[kind])
    return;
  leg->quiet_until[kind] = r->now + RELAY_LIMIT_MS;
  relay_emit(r, leg, kind, a, b);
}

/* ------------------------------------------------------------------------------------------------- life cycle -- */

/* The arena is wiped in a forked child, so the mark reads 0 there; where the kernel cannot do that, it is out of date.
 */
static ums_status enter(ums_relay *r) {
  if (r == NULL)
    return UMS_BAD_ARGUMENT;
  if (r->fork_mark != ums_fork_generation() + 1)
    return UMS_FORKED;
  return pthread_mutex_lock(&r->control) == 0 ? UMS_OK : UMS_BUSY;
}

static ums_status leave(ums_relay *r, ums_status status) {
  pthread_mutex_unlock(&r->control);
  return status;
}

ums_status ums_relay_start(ums_relay *r) {
  ums_status status = enter(r);
  if (status != UMS_OK)
    return status;
  if (r->state != RELAY_NEW)
    return leave(r, UMS_BAD_ARGUMENT);
  if (relay_system_start(r) != 0)
    return leave(r, UMS_SYSTEM);
  r->state = RELAY_RUNNING;
  return leave(r, UMS_OK);
}

ums_status ums_relay_stop(ums_relay *r) {
  ums_status status = enter(r);
  if (status != UMS_OK)
    return status;
  if (r->state == RELAY_STOPPED)
    return leave(r, UMS_OK);
  if (r->state == RELAY_RUNNING)
    relay_system_join(r);
  for (uint32_t i = 0; i < r->cfg.max_legs; i++)
    if (r->legs[i].id != 0)
      relay_leg_close(r, &r->legs[i], NULL);
  ums_wipe(r->buffers, (size_t)RELAY_BURST * RELAY_STRIDE);
  r->state = RELAY_STOPPED;
  relay_system_close(r);
  return leave(r, UMS_OK);
}

int ums_relay_event_fd(const ums_relay *r) {
  int mine = r != NULL && r->fork_mark == ums_fork_generation() + 1;
  return mine ? r->event_fd : -1; /* relay_system_close leaves -1 */
}

/* --------------------------------------------------------------------------------------------------- commands -- */

void relay_run_commands(ums_relay *r) {
  relay_command **slot;
  while ((slot = ums_spsc_peek(&r->commands)) != NULL) {
    relay_command *command = *slot;
    command->status = command->run(r, command->leg, command->args);
    ums_spsc_release(&r->commands);
    sem_post(&r->done); /* from here on `command` belongs to its caller again */
  }
}

/* With `control` held: runs the command in the thread, or here while there is no thread. */
static ums_status execute(ums_relay *r, relay_run *run, relay_leg *leg, void *args) {
  relay_command command = {.run = run, .leg = leg, .args = args};
  if (r->state != RELAY_RUNNING) {
    relay_clock(r);
    ums_status status = run(r, leg, args);
    if (r->announce)
      relay_announce(r);
    r->announce = 0;
    return status;
  }
  relay_command **slot = ums_spsc_reserve(&r->commands);
  if (slot == NULL)
    return UMS_BUSY;
  *slot = &command;
  ums_spsc_commit(&r->commands);
  relay_wake(r);
  while (sem_wait(&r->done) != 0 && errno == EINTR) {
  }
  return command.status;
}

static relay_leg *find_leg(ums_relay *r, uint32_t id) {
  for (uint32_t i = 0; id != 0 && i < r->cfg.max_legs; i++)
    if (r->legs[i].id == id)
      return &r->legs[i];
  return NULL;
}

static ums_status call(ums_relay *r, uint32_t id, relay_run *run, void *args) {
  ums_status status = enter(r);
  if (status != UMS_OK)
    return status;
  relay_leg *leg = r->state == RELAY_STOPPED ? NULL : find_leg(r, id);
  return leave(r, leg == NULL ? UMS_BAD_ARGUMENT : execute(r, run, leg, args));
}

ums_status ums_relay_open_leg(ums_relay *r, const ums_leg_config *cfg, uint32_t *leg) {
  ums_status status = enter(r);
  if (status != UMS_OK)
    return status;
  if (cfg == NULL || leg == NULL || r->state == RELAY_STOPPED)
    return leave(r, UMS_BAD_ARGUMENT);
  relay_leg *slot = NULL;
  for (uint32_t i = 0; slot == NULL && i < r->cfg.max_legs; i++)
    if (r->legs[i].id == 0)
      slot = &r->legs[i];
  if (slot == NULL || r->last_id == UINT32_MAX)
    return leave(r, UMS_NO_ROOM);
  status = execute(r, relay_leg_open, slot, (void *)cfg);
  if (status == UMS_OK)
    *leg = slot->id;
  return leave(r, status);
}

ums_status ums_relay_close_leg(ums_relay *r, uint32_t leg) { return call(r, leg, relay_leg_close, NULL); }

ums_status ums_relay_set_dialer(ums_relay *r, uint32_t leg, const ums_address *rtp, const ums_address *rtcp) {
  return call(r, leg, relay_leg_set_dialer, &(relay_remote_args){rtp, rtcp});
}

ums_status ums_relay_set_peer(ums_relay *r, uint32_t leg, const ums_address *rtp, const ums_address *rtcp) {
  return call(r, leg, relay_leg_set_peer, &(relay_remote_args){rtp, rtcp});
}

ums_status ums_relay_set_mode(ums_relay *r, uint32_t leg, ums_leg_mode mode) {
  return call(r, leg, relay_leg_set_mode, &mode);
}

ums_status ums_relay_set_ice(ums_relay *r, uint32_t leg, int ice) { return call(r, leg, relay_leg_set_ice, &ice); }

/* Here and not in the thread, because a first choice runs the engine's self-test. */
static const ums_engine *engine_of(const relay_leg *leg, ums_suite suite) {
  return leg->engine != NULL ? leg->engine : ums_engine_choose(suite);
}

static ums_status derive(ums_relay *r, const relay_leg *leg, int direction, const ums_srtp_config *cfg,
                         relay_keys *keys) {
  if (cfg == NULL)
    return UMS_OK;
  if (cfg->direction != direction)
    return UMS_BAD_ARGUMENT;
  ums_srtp_config own = *cfg;
  if (direction == UMS_SEND && own.n_keys > 1)
    own.n_keys = 1; /* the others would never be used */
  const ums_relay_config *most = &r->cfg;
  if (ums_srtp_sizeof(&own) == 0)
    return UMS_BAD_ARGUMENT;
  if (own.flags & UMS_LAB_NO_MAC)
    return UMS_UNSUPPORTED;
  if (own.max_ssrc > most->max_ssrc || own.rtp_window > most->rtp_window_max || own.rtcp_window > most->rtp_window_max)
    return UMS_NO_ROOM;
  const ums_engine *engine = engine_of(leg, own.suite);
  if (engine == NULL)
    return UMS_UNSUPPORTED;
  ums_srtp *ctx = pool_take(r, direction);
  if (ctx == NULL)
    return UMS_NO_ROOM;
  ums_status status = ums_srtp_init(ctx, r->pool[direction].size, &own, engine);
  if (status != UMS_OK) {
    relay_pool_release(r, direction, ctx);
    return status;
  }
  *keys = (relay_keys){.ctx = ctx, .suite = (uint8_t)own.suite};
  return UMS_OK;
}

ums_status ums_relay_install(ums_relay *r, uint32_t id, ums_part part, const ums_srtp_config *send,
                             const ums_srtp_config *receive, uint32_t grace_ms, uint32_t grace_max_ms) {
  ums_status status = enter(r);
  if (status != UMS_OK)
    return status;
  relay_leg *leg = r->state == RELAY_STOPPED ? NULL : find_leg(r, id);
  if (leg == NULL || (send == NULL && receive == NULL))
    return leave(r, UMS_BAD_ARGUMENT);
  if (part != UMS_PART_BOTH && part != UMS_PART_RTP && part != UMS_PART_RTCP)
    return leave(r, UMS_BAD_ARGUMENT);
  relay_install_args args = {.grace_ms = grace_ms, .grace_max_ms = grace_max_ms, .part = part};
  status = derive(r, leg, UMS_SEND, send, &args.send);
  if (status == UMS_OK)
    status = derive(r, leg, UMS_RECEIVE, receive, &args.receive);
  if (status == UMS_OK)
    status = execute(r, relay_leg_install, leg, &args);
  if (status != UMS_OK && args.send.ctx != NULL)
    relay_pool_release(r, UMS_SEND, args.send.ctx);
  if (status != UMS_OK && args.receive.ctx != NULL)
    relay_pool_release(r, UMS_RECEIVE, args.receive.ctx);
  return leave(r, status);
}

ums_status ums_relay_set_engine(ums_relay *r, uint32_t leg, const ums_engine *engine) {
  if (engine == NULL)
    for (size_t i = 0; i < ums_suite_count(); i++)
      ums_engine_choose(ums_suite_at(i)->suite); /* self-tests run here */
  return call(r, leg, relay_leg_set_engine, (void *)engine);
}

ums_status ums_relay_send(ums_relay *r, uint32_t leg, int rtcp, const ums_address *to, const uint8_t *data,
                          size_t len) {
  if (data == NULL || len == 0 || len > UMS_MAX_PACKET)
    return UMS_BAD_ARGUMENT;
  return call(r, leg, relay_leg_send, &(relay_send_args){rtcp, to, data, len});
}

ums_status ums_relay_leg_stats(ums_relay *r, uint32_t leg, ums_leg_stats *out) {
  return out == NULL ? UMS_BAD_ARGUMENT : call(r, leg, relay_leg_stats_get, out);
}

size_t ums_relay_leg_streams(ums_relay *r, uint32_t leg, int direction, ums_stream_stats out[], size_t max) {
  relay_streams_args args = {.direction = direction, .out = out, .max = max};
  return call(r, leg, relay_leg_streams_get, &args) == UMS_OK ? args.n : 0;
}

/* Removes up to `max` entries. The event fd stays readable while anything waits in either ring. */
static size_t drain(ums_relay *r, ums_spsc *ring, void *out, size_t entry, size_t max) {
  size_t n = 0;
  void *slot;
  if (enter(r) != UMS_OK)
    return 0;
  for (; n < max && (slot = ums_spsc_peek(ring)) != NULL; n++) {
    memcpy((uint8_t *)out + n * entry, slot, entry);
    ums_spsc_release(ring);
  }
  if (r->state != RELAY_STOPPED && ums_spsc_peek(&r->events) == NULL && ums_spsc_peek(&r->controls) == NULL) {
    relay_announce_clear(r);
    /* The thread may have put something in between the look and the clearing. */
    if (ums_spsc_peek(&r->events) != NULL || ums_spsc_peek(&r->controls) != NULL)
      relay_announce(r);
  }
  leave(r, UMS_OK);
  return n;
}

size_t ums_relay_events(ums_relay *r, ums_event out[], size_t max) {
  return drain(r, &r->events, out, sizeof(ums_event), max);
}

size_t ums_relay_controls(ums_relay *r, ums_control out[], size_t max) {
  return drain(r, &r->controls, out, sizeof(ums_control), max);
}
