/*
 * Media that come from the network before their keys: a handshake is over for the peer a flight before it is for us.
 * They are kept for a moment, few for each leg, and looked at as if they had just come when the keys are there (DTLS-9,
 * DTLS-30). Until then nothing is known about them and nothing is believed. Runs in the relay's thread.
 */
#include <string.h>

#include "core.h"
#include "relay.h"

_Static_assert(RELAY_EARLY_PER_LEG <= RELAY_BURST, "a leg's packets are released as one burst");

static int lives(const relay_early *e) { return e->leg != NULL; }

static void release(relay_early *e) {
  e->leg->n_early--;
  e->leg = NULL;
}

static void drop(relay_early *e) {
  e->leg->totals.dropped_closed++;
  release(e);
}

static relay_early *free_slot(ums_relay *r) {
  for (uint32_t i = 0; i < r->cfg.early_packets; i++)
    if (!lives(&r->early[i]))
      return &r->early[i];
  return NULL;
}

int relay_early_keep(ums_relay *r, const relay_item *item) {
  relay_early *slot = item->leg->n_early < RELAY_EARLY_PER_LEG ? free_slot(r) : NULL;
  if (slot == NULL)
    return 0;
  item->leg->n_early++;
  slot->leg = item->leg;
  slot->order = ++r->early_order;
  slot->until = r->now + RELAY_EARLY_MS;
  slot->from = item->from;
  slot->in = item->in;
  slot->len = item->len;
  memcpy(slot->data, item->data, item->len);
  relay_due(r, slot->until);
  return 1;
}

void relay_early_tick(ums_relay *r) {
  for (uint32_t i = 0; i < r->cfg.early_packets; i++) {
    relay_early *e = &r->early[i];
    if (lives(e) && r->now >= e->until)
      drop(e);
    else if (lives(e))
      relay_due(r, e->until);
  }
}

void relay_early_forget(ums_relay *r, const relay_leg *leg) {
  for (uint32_t i = 0; i < r->cfg.early_packets && leg->n_early > 0; i++)
    if (r->early[i].leg == leg)
      drop(&r->early[i]);
}

/* The oldest that can be opened now. */
static relay_early *next_of(ums_relay *r, relay_leg *leg) {
  relay_early *oldest = NULL;
  for (uint32_t i = 0; i < r->cfg.early_packets && leg->n_early > 0; i++) {
    relay_early *e = &r->early[i];
    if (e->leg != leg || relay_part_of(leg, e->in == NET_RTCP)->receive.ctx == NULL)
      continue;
    if (oldest == NULL || e->order < oldest->order)
      oldest = e;
  }
  return oldest;
}

void relay_early_release(ums_relay *r, relay_leg *leg) {
  relay_early *e;
  size_t n = 0;
  for (; n < RELAY_BURST && (e = next_of(r, leg)) != NULL; n++) {
    uint8_t *data = r->buffers + n * RELAY_STRIDE;
    memcpy(data, e->data, e->len);
    r->items[n] = (relay_item){.leg = leg, .data = data, .len = e->len, .in = e->in, .from = e->from};
    release(e);
  }
  if (n == 0)
    return;
  r->n_items = n;
  relay_path_run(r);
  r->n_items = 0;
}
