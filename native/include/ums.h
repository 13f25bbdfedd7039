/*
 * ums: the media-security core of ueagent.
 *
 * This header is the whole public C API: SRTP contexts, the engines that do their bulk work, arenas that hold keys,
 * and the relay that carries media between a dialer on loopback and the network.
 *
 * Rules that hold for every function here:
 *   - Memory comes from the caller (ums_arena_* makes a suitable piece) and is sized by the matching *_sizeof. After
 *     *_init nothing allocates. No function keeps a pointer into memory it was not given for keeping.
 *   - A length stands next to every pointer. Lengths count octets.
 *   - A status is returned, never kept in a global. Packets carry their own status.
 *   - A context has one user at a time: a second one gets UMS_BUSY and nothing happens. After fork() every context
 *     of the parent answers UMS_FORKED in the child.
 *   - No branch and no address depends on a key, on plaintext, or on more of a tag comparison than its verdict.
 *   - Replay state is checked before a packet's job and committed (checked again, and set) only after
 *     authentication succeeded. A failed packet leaves no plaintext behind and changes no state but counters.
 *   - A sending index is spent when its job is built. Nothing gives it back, so no nonce is ever used twice.
 */
#ifndef UMS_H
#define UMS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define UMS_MAX_MKI 128                        /* RFC 4568, 6.1: an MKI has 1..128 octets */
#define UMS_MAX_KEYS 4                         /* master keys of one context, told apart by MKI */
#define UMS_MAX_PACKET 2048                    /* longest packet that is handled, trailer included */
#define UMS_MAX_TRAILER (16 + 4 + UMS_MAX_MKI) /* room a packet needs behind its end before protect */
#define UMS_MAX_WINDOW 32768                   /* replay list, packets */

/* ---------------------------------------------------------------------------------------------------- status -- */

typedef enum ums_status {
  UMS_OK = 0,
  UMS_PENDING = 1,      /* accepted, not finished yet (asynchronous engines) */
  UMS_BUSY = 2,         /* somebody else is using this object; nothing was done */
  UMS_FORKED = 3,       /* the object belongs to the process that forked this one */
  UMS_BAD_ARGUMENT = 4, /* a configuration that no reading of the API allows */
  UMS_UNSUPPORTED = 5,  /* known, but not by this engine or this build */
  UMS_NO_ROOM = 6,      /* memory, capacity or buffer space is too small */
  UMS_BAD_PACKET = 7,   /* not RTP/RTCP, or shorter than its own header says */
  UMS_AUTH_FAIL = 8,    /* the tag does not verify */
  UMS_REPLAY = 9,       /* index seen before (receiving) or spent before (sending) */
  UMS_TOO_OLD = 10,     /* index is behind the replay list */
  UMS_WRONG_MKI = 11,   /* the packet names no key of this context */
  UMS_SSRC_FULL = 12,   /* authentic, but the table of SSRCs is full */
  UMS_KEY_EXPIRED = 13, /* lifetime used up: no packet is sent or accepted with this key any more */
  UMS_HELD = 14,        /* the stream restarted under its SSRC; it is held until a new key is installed */
  UMS_ENGINE = 15,      /* the engine failed */
  UMS_SELF_TEST = 16,   /* the engine's known answers came out wrong */
  UMS_SYSTEM = 17       /* a system call failed; errno tells */
} ums_status;

const char *ums_status_name(ums_status status); /* "OK", "AUTH_FAIL", ...; never NULL */

/* ---------------------------------------------------------------------------------------------------- suites -- */

/* The numbers are `native` in ueagent/model/suites.py. */
typedef enum ums_suite {
  UMS_AES_CM_128_HMAC_SHA1_80 = 1,
  UMS_AES_CM_128_HMAC_SHA1_32 = 2,
  UMS_AES_192_CM_HMAC_SHA1_80 = 3,
  UMS_AES_192_CM_HMAC_SHA1_32 = 4,
  UMS_AES_256_CM_HMAC_SHA1_80 = 5,
  UMS_AES_256_CM_HMAC_SHA1_32 = 6,
  UMS_AEAD_AES_128_GCM = 7,
  UMS_AEAD_AES_256_GCM = 8,
  UMS_NULL_HMAC_SHA1_80 = 9, /* lab only: RFC 3711 wants it to exist, policy never selects it */
  UMS_NULL_HMAC_SHA1_32 = 10
} ums_suite;

typedef enum ums_transform { UMS_AES_CM, UMS_AES_GCM, UMS_NULL_CIPHER } ums_transform;

typedef struct ums_suite_info {
  ums_suite suite;
  const char *name; /* registered SDES name */
  ums_transform transform;
  uint8_t key_len, salt_len; /* master key and salt as signalled */
  uint8_t auth_key_len;      /* 20 or 0 */
  uint8_t rtp_tag, rtcp_tag;
} ums_suite_info;

size_t ums_suite_count(void);
const ums_suite_info *ums_suite_at(size_t i);          /* NULL when out of range */
const ums_suite_info *ums_suite_find(ums_suite suite); /* NULL when unknown */

/* --------------------------------------------------------------------------------------------------- engines -- */

/* An engine executes transform jobs. It knows nothing about RTP, ROC or SDP. */

#define UMS_KEY_MAX 1280 /* an engine's prepared form of one session key: schedules, HMAC states, powers of H */

typedef struct ums_key { /* opaque to everybody but the engine that loaded it; 64-aligned inside a context */
  _Alignas(64) uint8_t prepared[UMS_KEY_MAX];
} ums_key;

typedef struct ums_session_key { /* what an engine needs to prepare a key; lives only during load_key */
  ums_transform transform;
  uint8_t cipher_key_len, auth_key_len;
  const uint8_t *cipher_key;
  const uint8_t *auth_key;
} ums_session_key;

#define UMS_JOB_ENCRYPT 0x01 /* protect; otherwise verify first, then decrypt */

/*
 * One packet's transform. Offsets count from `data`. Order of octets seen by the MAC or as AAD: data[0 .. auth_len),
 * then tail[0 .. tail_len). HMAC suites: auth_len covers header and ciphertext, the tag is the leftmost tag_len octets.
 * GCM: auth_len is the AAD before the tail; the tag is 16 octets. The IV is the full CTR block for AES-CM (last 16 bits
 * zero) and 12 octets for GCM. cipher_len may be 0.
 */
typedef struct ums_job {
  uint8_t *data;
  const ums_key *key;
  uint32_t cipher_off, cipher_len;
  uint32_t auth_len;
  uint32_t tag_off;
  uint8_t tag_len, tail_len;
  uint8_t flags;
  uint8_t status; /* out: UMS_OK, UMS_AUTH_FAIL, UMS_ENGINE, UMS_PENDING */
  uint8_t tail[4];
  _Alignas(16) uint8_t iv[16];
  void *owner; /* of whoever built the job */
} ums_job;

#define UMS_ENGINE_ASYNC 0x01
#define UMS_ENGINE_OPAQUE_KEYS 0x02

typedef struct ums_engine ums_engine;
struct ums_engine {
  const char *name; /* "portable", "aesni", ... */
  uint32_t flags;
  uint32_t batch;     /* jobs that fill its lanes; 1 = no gain from batches */
  int (*probe)(void); /* 0: this machine cannot run it */
  int (*supports)(ums_transform t, size_t cipher_key_len);
  ums_status (*load_key)(const ums_engine *e, ums_key *out, const ums_session_key *key);
  void (*drop_key)(const ums_engine *e, ums_key *key); /* wipes */
  /* Returns the jobs taken; CPU engines finish them here. */
  size_t (*submit)(const ums_engine *e, ums_job *const job[], size_t n);
  size_t (*poll)(const ums_engine *e, ums_job *done[], size_t max); /* NULL for CPU engines */
  void *state;
};

/* The table, best first. An entry that was not built for this machine does not appear. */
size_t ums_engine_count(void);
const ums_engine *ums_engine_at(size_t i);           /* NULL when out of range */
const ums_engine *ums_engine_find(const char *name); /* NULL when unknown */

/* Known answers: FIPS-197, SP 800-38A/D, RFC 2202, RFC 3711 B, RFC 6188, RFC 7714, and packets of RFC 4771. `failed`,
 * when not NULL, gets the name of the first test that failed, or NULL. UMS_UNSUPPORTED when probe() says no. */
ums_status ums_engine_self_test(const ums_engine *e, const char **failed);
/* Makes the named test see a wrong answer, so that it can be shown to bite; NULL switches it off. Test hook. */
void ums_engine_corrupt_test(const char *test_name);
const char *ums_engine_test_name(size_t i); /* names of the known answers; NULL when out of range */
/* The first engine that probes, supports the suite and passed its self-test (run once per process, remembered). */
const ums_engine *ums_engine_choose(ums_suite suite);

/* ---------------------------------------------------------------------------------------------------- arenas -- */

#define UMS_ARENA_LOCKED 0x01     /* mlock succeeded */
#define UMS_ARENA_DONTDUMP 0x02   /* MADV_DONTDUMP succeeded */
#define UMS_ARENA_WIPEONFORK 0x04 /* MADV_WIPEONFORK succeeded */

typedef struct ums_arena {
  void *base;
  size_t len;
  uint32_t flags;
} ums_arena;

ums_status ums_arena_open(ums_arena *arena, size_t len); /* zeroed pages of their own, 4096-aligned */
void ums_arena_close(ums_arena *arena);                  /* wipes, then unmaps; idempotent */

void ums_wipe(void *p, size_t len);
int ums_equal(const void *a, const void *b, size_t len); /* 1 when equal; time depends on len only */

/* ------------------------------------------------------------------------------------------------------ SRTP -- */

typedef struct ums_srtp ums_srtp; /* opaque; one direction, one set of master keys */

#define UMS_SEND 0
#define UMS_RECEIVE 1

#define UMS_LAB_UNENCRYPTED_SRTCP 0x01 /* E = 0 is sent and accepted; never set outside the lab */
#define UMS_LAB_SESSION_KEYS 0x02      /* RFC vectors: key and salt are session keys already; the MAC key is all zero */
#define UMS_LAB_NO_MAC 0x04            /* packets without a MAC are sent and accepted: see ums_rcc */

/*
 * One user at a time: normally each context guards itself. Contexts that are always used together (a relay's, a
 * batch's) may share a guard: a burst then takes it once instead of once a context. It must outlive them.
 */
typedef struct ums_guard ums_guard;
size_t ums_guard_sizeof(void);
ums_status ums_guard_init(ums_guard *guard, size_t len);

typedef struct ums_master_key {
  const uint8_t *key, *salt; /* lengths are the suite's */
  const uint8_t *mki;
  uint8_t mki_len;   /* 0: no MKI */
  uint64_t lifetime; /* SRTP packets, 0 = the transform's own limit. SRTCP never exceeds 2^31 - 1 */
} ums_master_key;

/*
 * ROC carrying (RFC 4771): RTP packets whose sequence number is a multiple of `rate` carry the rollover counter before
 * their MAC. A receiver adopts it when that MAC has verified, so it may join late or be away for long; the counter
 * never goes back. RTCP is as always.
 *
 *   mode   SEQ = 0 mod rate            the others
 *   1      ROC, MAC of tag_len - 4     no tag
 *   2      ROC, MAC of tag_len - 4     MAC of tag_len (RFC 4771, 5, case 4)
 *   3      ROC                         no tag
 *
 * A packet without a MAC needs UMS_LAB_NO_MAC. It is decrypted, counted, and changes nothing else: neither replay list
 * nor rollover counter, and it binds no SSRC. In mode 3 those that carry a ROC do: it is believed, forward and back.
 */
typedef struct ums_rcc {
  uint8_t mode;    /* 0: none. Else the suite has an HMAC: there is no ROC carrying with GCM */
  uint8_t tag_len; /* octets, ROC included: 8..20, 14 is recommended; mode 3: 4 */
  uint16_t rate;   /* R, from 1; up to 16384 where packets have no MAC, as the estimate then rests on the others */
} ums_rcc;

typedef struct ums_srtp_config {
  ums_suite suite;
  uint8_t direction;                /* UMS_SEND or UMS_RECEIVE */
  uint8_t n_keys;                   /* 1..UMS_MAX_KEYS; more than one needs MKIs of one length. Sending uses keys[0] */
  uint16_t max_ssrc;                /* capacity, 1..1024; fixed */
  uint32_t rtp_window, rtcp_window; /* packets, 64..UMS_MAX_WINDOW, rounded up to a multiple of 64 */
  uint64_t soft_limit;    /* packets (all SSRCs of a key together) after which `soft` is reported; 0 = never */
  uint32_t restart_after; /* sending: this many indices in a row outside the window mean a restart; 0 = 32 */
  uint32_t flags;
  ums_rcc rcc;
  ums_guard *guard; /* NULL: its own */
  const ums_master_key *keys;
} ums_srtp_config;

typedef struct ums_packet {
  uint8_t *data;
  uint32_t len;      /* in: packet; out: packet after the transform (unchanged when it failed) */
  uint32_t capacity; /* octets that may be written from `data` on; protect needs len + trailer */
  uint8_t rtcp;      /* 0: RTP, 1: RTCP */
  uint8_t status;    /* out: ums_status */
} ums_packet;

size_t ums_srtp_sizeof(const ums_srtp_config *cfg); /* 0 when cfg is not valid */
ums_status ums_srtp_init(ums_srtp *ctx, size_t len, const ums_srtp_config *cfg, const ums_engine *engine);
/* In place; a context per packet, any mix of contexts. Returns how many succeeded; every packet has its status. */
size_t ums_srtp_protect(ums_srtp *const ctx[], ums_packet pkt[], size_t n);
size_t ums_srtp_unprotect(ums_srtp *const ctx[], ums_packet pkt[], size_t n);

/* Packets as rows of one array, for callers to whom a struct for every packet is too dear (Python). */
typedef struct ums_rows {
  uint8_t *data; /* row i begins at data + i * stride and may be written up to its end */
  size_t stride, n;
  uint32_t *len;           /* in and out, as ums_packet.len. Longer than a row: UMS_BAD_ARGUMENT */
  const uint32_t *context; /* which of the contexts. NULL: 0 for all; too large: UMS_BAD_ARGUMENT */
  const uint8_t *rtcp;     /* NULL: all are RTP */
  uint8_t *status;         /* out */
} ums_rows;
size_t ums_srtp_protect_rows(ums_srtp *const ctx[], size_t n_ctx, const ums_rows *rows);
size_t ums_srtp_unprotect_rows(ums_srtp *const ctx[], size_t n_ctx, const ums_rows *rows);

/* One packet, not in place: `out` has room for UMS_MAX_PACKET octets. Returns its length there, or -ums_status. */
int32_t ums_srtp_protect_one(ums_srtp *ctx, const uint8_t *packet, size_t len, int rtcp, void *out);
int32_t ums_srtp_unprotect_one(ums_srtp *ctx, const uint8_t *packet, size_t len, int rtcp, void *out);

ums_status ums_srtp_set_engine(ums_srtp *ctx,
                               const ums_engine *engine); /* keys reloaded; ROC, replay list, indices stay */
const ums_engine *ums_srtp_engine(const ums_srtp *ctx);
void ums_srtp_wipe(ums_srtp *ctx); /* a wiped context answers UMS_BAD_ARGUMENT */

typedef struct ums_stream_stats { /* one SSRC of one context */
  uint32_t ssrc, roc;
  uint64_t packets, octets; /* RTP; octets count payload and header as plain RTP */
  uint64_t rtcp_packets;
  uint64_t auth_fail, replay, too_old; /* refused, RTP and RTCP, since the SSRC was bound */
  uint16_t highest_seq;
  uint8_t held;       /* restart detected */
  uint8_t late_start; /* sending: the first sequence number was >= 2^15 (SDES-13) */
} ums_stream_stats;

typedef struct ums_srtp_stats {
  uint64_t packets, octets; /* succeeded, RTP */
  uint64_t rtcp_packets;
  uint64_t auth_fail, replay, too_old, wrong_mki, bad_packet, ssrc_full, expired, held, engine;
  uint64_t key_packets; /* of the busiest key, all SSRCs together (SDES-19) */
  uint32_t n_streams;
  uint8_t soft, hard; /* soft limit passed; lifetime used up */
} ums_srtp_stats;

void ums_srtp_stats_get(const ums_srtp *ctx, ums_srtp_stats *out);
size_t ums_srtp_streams(const ums_srtp *ctx, ums_stream_stats out[], size_t max); /* returns how many there are */

/* RFC 3711, 4.3.1, exposed for vectors: label 0..5, `out_len` octets of keystream. salt_len 12 or 14 (12 is padded on
 * the right with zeros, RFC 7714, 11 and its erratum). */
ums_status ums_kdf(const uint8_t *key, size_t key_len, const uint8_t *salt, size_t salt_len, uint8_t label,
                   uint8_t *out, size_t out_len);

/* ----------------------------------------------------------------------------------------------------- relay -- */

/*
 * One thread, `max_legs` legs. A leg is one media line: sockets towards the network and towards the dialer. The thread
 * never enters Python. Commands travel to it through a ring read between bursts; events and control datagrams (DTLS,
 * and STUN where ICE was negotiated)
 * travel back through rings announced by an eventfd. All ums_relay_* calls may come from any thread; they serialise
 * among themselves and never wait for the packet path longer than one burst.
 */
typedef struct ums_relay ums_relay;

typedef struct ums_relay_config {
  uint32_t max_legs;                         /* capacity */
  uint32_t split_legs;                       /* of them at most so many have RTCP keys of their own */
  uint32_t early_packets;                    /* packets, of all legs, that wait for receive keys; 0: dropped */
  uint32_t max_ssrc;                         /* per context */
  uint32_t rtp_window_max;                   /* largest replay list a leg may ask for */
  uint32_t event_capacity, control_capacity; /* entries */
  /* Control datagrams of a leg that reach the ring in a second, of each kind: DTLS and STUN, of the peer's address and
   * of all others. The rest is counted. */
  uint32_t control_per_second;
  uint32_t auth_burst; /* authentication failures per second that make one UMS_EVENT_AUTH_BURST */
} ums_relay_config;

size_t ums_relay_sizeof(const ums_relay_config *cfg); /* 0 when cfg is not valid */
ums_status ums_relay_init(ums_relay *r, size_t len, const ums_relay_config *cfg);
ums_status ums_relay_start(ums_relay *r);
ums_status ums_relay_stop(ums_relay *r);    /* joins the thread, closes every socket, wipes every key; idempotent */
int ums_relay_event_fd(const ums_relay *r); /* readable when events or control datagrams wait; -1 once stopped */

typedef struct ums_address { /* IPv4 or IPv6 with port, in network order, as the kernel wants it */
  uint8_t family;            /* 0 none, 4, 6 */
  uint8_t octets[16];
  uint16_t port; /* host order */
  uint32_t scope;
} ums_address;

typedef struct ums_leg_config {
  /* Bound, non-blocking UDP sockets; ownership passes to the relay when UMS_OK is returned. *_rtcp = -1: muxed. */
  int net_rtp, net_rtcp, loop_rtp, loop_rtcp;
  uint8_t never_plain;   /* UMS_LEG_PLAIN is refused for ever (policy `required`) */
  uint8_t learn_peer;    /* adopt the source of authenticated packets as destination (symmetric RTP) */
  uint32_t idle_seconds; /* UMS_EVENT_IDLE after this long without an accepted packet from the network; 0 = never */
} ums_leg_config;

typedef enum ums_leg_mode {
  UMS_LEG_CLOSED = 0, /* nothing passes: no keys yet, or held */
  UMS_LEG_SECURE = 1,
  UMS_LEG_PLAIN = 2 /* from the network only what comes from exactly the address and port of set_peer */
} ums_leg_mode;

/* Leg numbers are never reused within one relay's life: a late call for a closed leg gets UMS_BAD_ARGUMENT. */
ums_status ums_relay_open_leg(ums_relay *r, const ums_leg_config *cfg, uint32_t *leg);
ums_status ums_relay_close_leg(ums_relay *r, uint32_t leg);
/* Either address may have family 0: unchanged. Connects the loopback sockets to the dialer's address. */
ums_status ums_relay_set_dialer(ums_relay *r, uint32_t leg, const ums_address *rtp, const ums_address *rtcp);
ums_status ums_relay_set_peer(ums_relay *r, uint32_t leg, const ums_address *rtp, const ums_address *rtcp);
ums_status ums_relay_set_mode(ums_relay *r, uint32_t leg, ums_leg_mode mode);
/* ICE was negotiated: STUN goes to the control ring and may be sent, and only set_peer says where media goes, whatever
 * learn_peer is. 0 ends it. */
ums_status ums_relay_set_ice(ums_relay *r, uint32_t leg, int ice);
/*
 * Keys for one or both directions (NULL: leave that direction). UMS_UNSUPPORTED: UMS_LAB_NO_MAC, as a leg's addresses
 * and events follow what is authentic. Session keys are derived here, in the caller's thread;
 * the thread switches between two bursts. Sending uses the new context at once. Receiving accepts old and new until
 * `grace_ms` after the first authentic packet under the new key, `grace_max_ms` at the latest (SDES-17), then wipes the
 * old one. Does not change the mode.
 *
 * `part`: with UMS_PART_RTP or UMS_PART_RTCP the leg's RTCP has keys of its own (RFC 5764, 4.1: an association for each
 * port), and RTCP is dropped until it got them. UMS_PART_BOTH brings both together again.
 */
typedef enum ums_part { UMS_PART_BOTH = 0, UMS_PART_RTP = 1, UMS_PART_RTCP = 2 } ums_part;
ums_status ums_relay_install(ums_relay *r, uint32_t leg, ums_part part, const ums_srtp_config *send,
                             const ums_srtp_config *receive, uint32_t grace_ms, uint32_t grace_max_ms);
ums_status ums_relay_set_engine(ums_relay *r, uint32_t leg, const ums_engine *engine); /* NULL: choose per suite */
/* A datagram of our own from the leg's network socket to `to`, or to the peer when NULL. Only DTLS (first
 * octet 20..63), and STUN (0..3) with ICE: media cannot leave past SRTP. */
ums_status ums_relay_send(ums_relay *r, uint32_t leg, int rtcp, const ums_address *to, const uint8_t *data, size_t len);

typedef enum ums_event_kind {
  UMS_EVENT_FIRST_PACKET = 1, /* first authentic packet (RTP or RTCP) of an SSRC from the network; a = ssrc */
  UMS_EVENT_AUTH_BURST = 2,   /* a = failures in the last second */
  UMS_EVENT_SOFT_LIMIT = 3,   /* re-key wanted; a = direction */
  UMS_EVENT_KEY_EXPIRED = 4,  /* a = direction */
  UMS_EVENT_RESTART = 5,      /* sending stream restarted and is held; a = ssrc */
  UMS_EVENT_LATE_START = 6,   /* first sequence number >= 2^15; a = ssrc, b = sequence number */
  UMS_EVENT_NEW_KEY_SEEN = 7, /* first authentic packet under the newest receive keys */
  UMS_EVENT_OLD_KEY_GONE = 8, /* the former receive context was wiped */
  UMS_EVENT_PEER_MOVED = 9,   /* address learnt from an authentic packet */
  UMS_EVENT_IDLE = 10,        /* nothing accepted from the network for idle_seconds; again only after packets flowed */
  UMS_EVENT_SSRC_FULL = 11,
  UMS_EVENT_ENGINE = 12,      /* an engine failed */
  UMS_EVENT_LEG_CLOSED = 13,  /* sockets closed, keys wiped */
  UMS_EVENT_SOCKET = 14,      /* a = errno of a socket that stopped working */
  UMS_EVENT_LOST = 15,        /* no leg; a = events that found the ring full since the last one */
  UMS_EVENT_ACCELERATOR = 16, /* no leg; a = ums_link_state */
  UMS_EVENT_KEYS_LOST = 17    /* the device that alone had this leg's keys is lost, and the keys with it */
} ums_event_kind;

typedef struct ums_event {
  uint32_t kind, leg, a, b;
} ums_event;
size_t ums_relay_events(ums_relay *r, ums_event out[], size_t max); /* removes them */

typedef struct ums_control { /* a DTLS or STUN datagram that came in on a network socket */
  uint32_t leg, len;
  uint8_t rtcp;
  ums_address from;
  uint8_t data[UMS_MAX_PACKET];
} ums_control;
size_t ums_relay_controls(ums_relay *r, ums_control out[], size_t max); /* removes them */

typedef struct ums_leg_stats {
  uint32_t leg;
  uint8_t mode;
  const char *send_engine, *receive_engine; /* static strings; NULL while there are no keys */
  ums_srtp_stats send, receive;             /* current contexts plus those already wiped */
  uint64_t plain_sent, plain_received;      /* packets of mode PLAIN */
  uint64_t from_dialer, to_dialer;          /* datagrams on the loopback side */
  uint64_t dropped_closed; /* arrived while the leg was closed, had no keys or nowhere to go, or from a wrong sender */
  uint64_t
      dropped_class; /* STUN without ICE, ZRTP, TURN, unknown first octet (RFC 7983), too short or too long for media */
  uint64_t control_passed, control_dropped; /* DTLS and STUN datagrams */
  uint64_t unknown_ssrc;                    /* failed authentication and belonged to no bound SSRC */
  uint64_t send_errors;
  uint64_t accelerated; /* packets that an accelerator did */
  uint64_t key_age_ms;  /* since the last install; 0 before */
  uint64_t idle_ms;     /* since the last accepted packet from the network, or the leg's opening */
} ums_leg_stats;

ums_status ums_relay_leg_stats(ums_relay *r, uint32_t leg, ums_leg_stats *out);
/* Per-SSRC counters of the current contexts: direction UMS_SEND or UMS_RECEIVE. Returns how many there are. */
size_t ums_relay_leg_streams(ums_relay *r, uint32_t leg, int direction, ums_stream_stats out[], size_t max);

/* ----------------------------------------------------------------------------------------------------- bench -- */

/*
 * Timed loops of `ueagent bench`. A bench holds UMS_BENCH_BATCH packets in buffers UMS_BENCH_STRIDE apart, its slots,
 * and lets a subject work on them in bursts: the core on one engine, or a foreign library that the caller has loaded.
 * Before each sample the slots get packets with fresh sequence numbers (to be unprotected: made by the core), after it
 * the core checks what the subject made. Only the subject's work is timed. Bench code allocates; nothing else here
 * does.
 */
#define UMS_BENCH_BATCH 64
#define UMS_BENCH_STRIDE 1600

typedef enum ums_bench_operation {
  UMS_BENCH_PROTECT = 0,
  UMS_BENCH_UNPROTECT = 1,
  UMS_BENCH_SETUP = 2 /* contexts are made anew, the former ones wiped */
} ums_bench_operation;

typedef struct ums_bench_keys {                          /* of one context; known to everybody */
  uint8_t key[32], salt[14];                             /* master */
  uint8_t cipher_key[32], auth_key[20], cipher_salt[14]; /* session keys of RTP, or of RTCP where that is measured */
} ums_bench_keys;

typedef struct ums_bench_config {
  ums_suite suite;
  ums_bench_operation operation;
  uint8_t rtcp;
  uint32_t payload; /* octets behind the RTP header; of RTCP the whole compound packet, 44 at least, a multiple of 4 */
  uint32_t n_contexts;
  uint32_t n_ssrc;          /* streams of one context */
  const ums_engine *engine; /* what the core as subject runs on; NULL: its choice */
} ums_bench_config;

typedef struct ums_bench_setup { /* what a subject is given; lives as long as the bench */
  ums_bench_config config;
  const ums_suite_info *suite;
  const ums_bench_keys *keys;      /* n_contexts of them */
  uint32_t first_ssrc;             /* stream s has SSRC first_ssrc + s and belongs to context s / n_ssrc */
  uint32_t plain_len, secured_len; /* octets of every packet */
  uint8_t *const *data;            /* UMS_BENCH_BATCH slots */
  const uint32_t *stream;          /* of each slot; changes from sample to sample */
} ums_bench_setup;

typedef struct ums_bench_subject {
  const char *name;
  uint32_t batched;                            /* 0: takes one packet at a time, so longer bursts measure nothing new */
  void *(*open)(const ums_bench_setup *setup); /* NULL: cannot do this */
  void (*prepare)(void *state);                /* before every sample, not timed: the slots are filled */
  size_t (*run)(void *state, size_t first, size_t n);   /* protects or unprotects slots; returns how many went well */
  size_t (*renew)(void *state, size_t first, size_t n); /* UMS_BENCH_SETUP, contexts; may be NULL */
  void (*close)(void *state);
} ums_bench_subject;

typedef struct ums_bench ums_bench;

const ums_bench_subject *ums_bench_core(void); /* this library as a subject */
/* UMS_UNSUPPORTED when the subject's open answers NULL; UMS_SYSTEM when there is no memory. */
ums_status ums_bench_open(const ums_bench_config *cfg, const ums_bench_subject *subject, ums_bench **out);
/*
 * Up to n samples of one batch each, until `budget` ticks have passed; at least one when n > 0. ticks[] gets the time
 * of each. `burst` divides UMS_BENCH_BATCH. First one batch is run untimed and every packet of it checked; of each
 * sample one. Returns how many there are; *status is not UMS_OK when the subject refused a packet or made a wrong one.
 */
size_t ums_bench_run(ums_bench *b, uint32_t burst, uint64_t ticks[], size_t n, uint64_t budget, ums_status *status);
void ums_bench_close(ums_bench *b); /* NULL is allowed */

uint64_t ums_bench_ticks(void);          /* now; the unit is the machine's affair */
uint64_t ums_bench_chain(uint64_t adds); /* ticks that this many dependent additions take, one core cycle each */
const char *ums_bench_clock(void);       /* "rdtscp", "cntvct", "clock_gettime" */
const char *ums_bench_compiler(void);    /* that built this library, with its version */

#ifdef __cplusplus
}
#endif
#endif
