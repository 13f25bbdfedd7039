/*
 * A complete small softphone behind ueagent: C11 and libc, a UNIX socket for the agent, UDP on loopback for media.
 *
 *   cc -std=c11 -o dialer dialer.c
 *   ./dialer AGENT_SOCKET EDGE_SOCKET call|answer PLAY RECORD
 *
 * PLAY and RECORD are raw G.711 mu-law (8000 octets a second). `call` calls a far end that echoes; `answer` is called
 * by one that speaks. At the end it prints what the agent knows of the call, as one JSON object.
 *
 * Where a softphone has its SIP stack, this one has the lab edge: what goes to `network` is what SIP would carry.
 */
#define _GNU_SOURCE /* asprintf, open_memstream */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define BINDING "home"      /* our name for one contact registered at one edge */
#define SIGNALLING "access" /* the truth about our SIP hop (POL-3); the lab edge's is a local socket */
#define PACKET 160          /* 20 ms of G.711 */
#define PACKET_MS 20
#define QUIET_MS 1000 /* hang up when all is said and so long nothing was heard */
#define REGISTER_ROUNDS 6
#define MAX_REPLY (1 << 20)
#define MAX_HEARD 65536 /* packets */

static void die(const char *format, ...) {
  va_list args;
  va_start(args, format);
  fputs("dialer: ", stderr);
  vfprintf(stderr, format, args);
  fputc('\n', stderr);
  va_end(args);
  exit(1);
}

/* ------------------------------------------------------------------------------------------------ JSON: reading -- */

static const char *space(const char *p) { return p + strspn(p, " \t\r\n"); }

static const char *behind(const char *p) { /* the value that begins at p */
  if (*p == '"') {
    for (p++; *p && *p != '"'; p++)
      if (*p == '\\' && p[1])
        p++;
    return *p ? p + 1 : p;
  }
  if (*p != '{' && *p != '[')
    return p + strcspn(p, ",]} \t\r\n");
  for (int depth = 0; *p;) {
    if (*p == '"') {
      p = behind(p);
      continue;
    }
    depth += (*p == '{' || *p == '[') - (*p == '}' || *p == ']');
    p++;
    if (depth == 0)
      break;
  }
  return p;
}

static const char *member(const char *object, const char *name) { /* its value, or NULL when absent or null */
  size_t len = strlen(name);
  if (object == NULL || *object != '{')
    return NULL;
  for (const char *p = space(object + 1); *p == '"';) {
    const char *key = p + 1, *end = behind(p), *value = space(end);
    if (*value++ != ':')
      return NULL;
    value = space(value);
    if ((size_t)(end - 1 - key) == len && memcmp(key, name, len) == 0)
      return strncmp(value, "null", 4) == 0 ? NULL : value;
    p = space(behind(value));
    p = *p == ',' ? space(p + 1) : p;
  }
  return NULL;
}

static const char *element(const char *array, int i) { /* NULL behind the last one */
  if (array == NULL || *array != '[')
    return NULL;
  const char *p = space(array + 1);
  for (; *p && *p != ']'; i--) {
    if (i == 0)
      return p;
    p = space(behind(p));
    p = *p == ',' ? space(p + 1) : p;
  }
  return NULL;
}

static unsigned hex4(const char *p) {
  char digits[5] = {0};
  memcpy(digits, p, strnlen(p, 4));
  return (unsigned)strtoul(digits, NULL, 16);
}

static char *text(const char *value) { /* a string without its escapes; the caller frees it */
  char *out = malloc(strlen(value ? value : "") + 1), *to = out;
  if (value == NULL || *value != '"' || out == NULL)
    die("the reply lacks a string");
  for (const char *p = value + 1; *p && *p != '"'; p++) {
    const char *found = *p == '\\' ? strchr("b\bf\fn\nr\rt\t\"\"\\\\//", p[1]) : NULL;
    if (*p != '\\') {
      *to++ = *p;
    } else if (p[1] != 'u') {
      *to++ = found && *found ? found[1] : p[1];
      p++;
    } else { /* msgspec writes UTF-8 as it is and only control characters like this */
      unsigned code = hex4(p + 2);
      *to++ = code < 0x80 ? (char)code : '?';
      p += strnlen(p, 6) - 1;
    }
  }
  *to = 0;
  return out;
}

/* ------------------------------------------------------------------------------------------------ JSON: writing -- */

static void quote(FILE *out, const char *string) {
  fputc('"', out);
  for (; *string; string++) {
    unsigned char c = (unsigned char)*string;
    if (c == '"' || c == '\\')
      fprintf(out, "\\%c", c);
    else if (c < 0x20)
      fprintf(out, "\\u%04x", c);
    else
      fputc(c, out);
  }
  fputc('"', out);
}

/* "name": "value" pairs up to a NULL; pairs with a NULL value are left out. `more` is further members as JSON. */
static char *object(const char *more, ...) {
  char *built = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&built, &len);
  if (out == NULL)
    die("no memory");
  va_list args;
  va_start(args, more);
  const char *comma = "", *name;
  fputc('{', out);
  while ((name = va_arg(args, const char *)) != NULL) {
    const char *value = va_arg(args, const char *);
    if (value == NULL)
      continue;
    fputs(comma, out);
    quote(out, name);
    fputc(':', out);
    quote(out, value);
    comma = ",";
  }
  va_end(args);
  if (more != NULL)
    fprintf(out, "%s%s", comma, more);
  fputc('}', out);
  fclose(out);
  return built;
}

/* -------------------------------------------------------------------------------------------------------- Varlink --
 */

static int connect_to(const char *path) {
  struct sockaddr_un address = {.sun_family = AF_UNIX};
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  if (fd < 0 || strlen(path) >= sizeof address.sun_path)
    die("%s: cannot be a socket's name", path);
  strcpy(address.sun_path, path);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) != 0)
    die("%s: %s", path, strerror(errno));
  return fd;
}

/* One call: JSON and a NUL octet each way. Returns the whole reply, whose "error" says that the call was refused. */
static char *try_call(int fd, const char *method, char *parameters) {
  char *message = NULL;
  int len = asprintf(&message, "{\"method\":\"%s\",\"parameters\":%s}", method, parameters);
  free(parameters);
  for (int at = 0; at <= len;) { /* the NUL goes out too */
    ssize_t n = send(fd, message + at, (size_t)(len + 1 - at), MSG_NOSIGNAL);
    if (n <= 0)
      die("%s: %s", method, strerror(errno));
    at += (int)n;
  }
  free(message);
  char *reply = malloc(MAX_REPLY);
  for (size_t at = 0; reply && at < MAX_REPLY;) { /* one call at a time, so nothing follows the reply */
    ssize_t n = recv(fd, reply + at, MAX_REPLY - at, 0);
    if (n <= 0)
      die("%s: the agent has gone, and with it this call", method);
    at += (size_t)n;
    if (reply[at - 1] == 0)
      return reply;
  }
  die("%s: the reply is too long", method);
  return NULL;
}

static char *call(int fd, const char *method, char *parameters) { /* a refusal ends the program */
  char *reply = try_call(fd, method, parameters);
  const char *error = member(reply, "error"), *given = member(reply, "parameters");
  if (error != NULL)
    die("%s: %s: %s", method, text(error), member(given, "detail") ? text(member(given, "detail")) : "");
  return reply;
}

static const char *result(const char *reply, const char *name) { return member(member(reply, "parameters"), name); }

/* ---------------------------------------------------------------------------------------------------------- media --
 */

static struct phone {
  int rtp, rtcp;
  uint16_t port, sequence;
  uint32_t ssrc, timestamp;
  int version;
  uint8_t *audio, *heard[MAX_HEARD]; /* heard: 2 octets of sequence number, 2 of length, payload */
  size_t audio_len, n_heard;
} phone;

static int bound(uint16_t *port) { /* on loopback; port 0 is replaced by the one that the system gave */
  struct sockaddr_in here = {
      .sin_family = AF_INET, .sin_port = htons(*port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
  socklen_t len = sizeof here;
  int fd = socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0)
    die("no socket: %s", strerror(errno));
  if (bind(fd, (struct sockaddr *)&here, len) != 0) {
    close(fd);
    return -1;
  }
  getsockname(fd, (struct sockaddr *)&here, &len);
  *port = ntohs(here.sin_port);
  return fd;
}

static void open_phone(void) {
  uint8_t random[10];
  for (phone.rtp = phone.rtcp = -1; phone.rtcp < 0;) { /* RTP on an even port, RTCP on the next one (RFC 3550, 11) */
    close(phone.rtp);
    phone.port = 0;
    phone.rtp = bound(&phone.port);
    uint16_t next = (uint16_t)(phone.port + 1);
    phone.rtcp = phone.rtp >= 0 && phone.port % 2 == 0 ? bound(&next) : -1;
  }
  if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random)
    die("no randomness");
  memcpy(&phone.ssrc, random, 4);
  memcpy(&phone.timestamp, random + 4, 4);
  memcpy(&phone.sequence, random + 8, 2);
  phone.sequence &= 0x7fff; /* SDES-13: the first one is below 2^15 */
}

static char *description(void) { /* our SDP, plain; each has a higher version than the one before (RFC 3264, 8) */
  char *sdp = NULL;
  if (asprintf(&sdp,
               "v=0\r\no=- %u %d IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio %u RTP/AVP 0\r\n"
               "a=rtpmap:0 PCMU/8000\r\na=ptime:20\r\na=sendrecv\r\n",
               phone.ssrc, ++phone.version, phone.port) < 0)
    die("no memory");
  return sdp;
}

static void aim(int fd, const char *address, unsigned port) { /* send there, and hear nobody else */
  struct sockaddr_in there = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
  if (inet_pton(AF_INET, address, &there.sin_addr) != 1 || connect(fd, (struct sockaddr *)&there, sizeof there) != 0)
    die("no media at %s:%u", address, port);
}

static void connect_phone(char *sdp) { /* the agent's side of the call */
  char address[64] = "127.0.0.1";
  unsigned port = 0, rtcp_port = 0;
  for (char *line = strtok(sdp, "\r\n"); line != NULL; line = strtok(NULL, "\r\n")) {
    sscanf(line, "c=IN IP4 %63s", address);
    sscanf(line, "a=rtcp:%u", &rtcp_port);
    sscanf(line, "m=audio %u", &port);
  }
  free(sdp);
  if (port == 0)
    die("the far side took no audio");
  aim(phone.rtp, address, port);
  aim(phone.rtcp, address, rtcp_port ? rtcp_port : port + 1);
}

static void say(const uint8_t *payload, size_t len, int first) {
  uint8_t packet[12 + PACKET] = {0x80, first ? 0x80 : 0};
  uint16_t sequence = htons(phone.sequence++); /* never back: the same number twice is dropped */
  uint32_t timestamp = htonl(phone.timestamp), ssrc = htonl(phone.ssrc);
  memcpy(packet + 2, &sequence, 2);
  memcpy(packet + 4, &timestamp, 4);
  memcpy(packet + 8, &ssrc, 4);
  memcpy(packet + 12, payload, len);
  phone.timestamp += (uint32_t)len;
  (void)send(phone.rtp, packet, 12 + len, 0); /* media is not told of losses */
}

static void report(void) { /* an empty receiver report and our name (RFC 3550, 6.1) */
  uint8_t packet[] = {0x80, 201, 0, 1, 0, 0, 0, 0, 0x81, 202, 0, 3, 0, 0, 0, 0, 1, 4, 'u', 's', 'e', 'r', 0, 0};
  uint32_t ssrc = htonl(phone.ssrc);
  memcpy(packet + 4, &ssrc, 4);
  memcpy(packet + 12, &ssrc, 4);
  (void)send(phone.rtcp, packet, sizeof packet, 0);
}

static void listen_once(void) {
  uint8_t packet[2048];
  ssize_t len = recv(phone.rtp, packet, sizeof packet, MSG_DONTWAIT);
  if (len <= 12 || packet[0] != 0x80 || phone.n_heard == MAX_HEARD)
    return;
  uint16_t payload = (uint16_t)(len - 12);
  uint8_t *kept = malloc(4u + payload);
  if (kept == NULL)
    die("no memory");
  memcpy(kept, packet + 2, 2);
  memcpy(kept + 2, &payload, 2);
  memcpy(kept + 4, packet + 12, payload);
  phone.heard[phone.n_heard++] = kept;
}

static long long now_ms(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void talk(void) { /* until all is said and the far end has been quiet for a while */
  size_t said = 0, count = (phone.audio_len + PACKET - 1) / PACKET;
  long long start = now_ms(), last = start;
  report();
  for (;;) {
    long long now = now_ms();
    for (; said < count && now >= start + (long long)said * PACKET_MS; said++, last = now) {
      size_t at = said * PACKET, left = phone.audio_len - at;
      say(phone.audio + at, left < PACKET ? left : PACKET, said == 0);
    }
    long long due = said < count ? start + (long long)said * PACKET_MS : last + QUIET_MS;
    if (said == count && now >= due)
      return;
    struct pollfd ready[] = {{.fd = phone.rtp, .events = POLLIN}, {.fd = phone.rtcp, .events = POLLIN}};
    poll(ready, 2, due > now ? (int)(due - now) : 0);
    if (ready[0].revents) {
      listen_once();
      last = now_ms();
    }
    if (ready[1].revents) {
      uint8_t ignored[2048];
      (void)recv(phone.rtcp, ignored, sizeof ignored, MSG_DONTWAIT);
    }
  }
}

static uint16_t first_heard; /* its sequence number */

static uint16_t sequence_of(const uint8_t *heard) { return (uint16_t)(heard[0] << 8 | heard[1]); }

static int by_sequence(const void *a, const void *b) { /* across a wrap of the numbers */
  uint16_t one = (uint16_t)(sequence_of(*(uint8_t *const *)a) - first_heard + 0x8000);
  uint16_t other = (uint16_t)(sequence_of(*(uint8_t *const *)b) - first_heard + 0x8000);
  return (int)one - (int)other;
}

static void write_recording(const char *path) {
  FILE *out = fopen(path, "wb");
  if (out == NULL)
    die("%s: %s", path, strerror(errno));
  first_heard = phone.n_heard ? sequence_of(phone.heard[0]) : 0;
  qsort(phone.heard, phone.n_heard, sizeof *phone.heard, by_sequence);
  for (size_t i = 0; i < phone.n_heard; i++) {
    uint16_t len;
    memcpy(&len, phone.heard[i] + 2, 2);
    fwrite(phone.heard[i] + 4, 1, len, out);
    free(phone.heard[i]);
  }
  fclose(out);
}

/* ----------------------------------------------------------------------------------------------------------- call --
 */

static const char *const HEADERS[][2] = {{"Security-Verify", "security_verify"},
                                         {"Security-Client", "security_client"},
                                         {"Require", "require"},
                                         {"Proxy-Require", "proxy_require"}};
static char *request_headers; /* for every request that is no REGISTER, as members of an object */

/* The agent's header values by name, the first `rows` of HEADERS, as the lab edge takes them. A SIP stack adds them to
 * the message in order. */
static char *headers_by_name(const char *headers, size_t rows) {
  char *built = NULL;
  size_t len = 0;
  FILE *out = open_memstream(&built, &len);
  if (out == NULL)
    die("no memory");
  for (size_t row = 0; row < rows; row++) {
    const char *header, *comma = "";
    fprintf(out, "%s\"%s\":[", row ? "," : "", HEADERS[row][1]);
    for (int i = 0; (header = element(headers, i)) != NULL; i++) {
      char *name = text(member(header, "name"));
      const char *value = member(header, "value");
      if (strcasecmp(name, HEADERS[row][0]) == 0 && value != NULL) {
        fprintf(out, "%s%.*s", comma, (int)(behind(value) - value), value); /* a JSON string already */
        comma = ",";
      }
      free(name);
    }
    fputc(']', out);
  }
  fclose(out);
  return built;
}

static void register_at(int network, int agent) { /* REGISTER with the agent's headers until the network is content */
  char *said = call(agent, "org.ueagent.Registration.Offer", object(NULL, "binding", BINDING, NULL));
  for (int round = 0; round < REGISTER_ROUNDS; round++) {
    char *headers = headers_by_name(result(said, "headers"), 4), *learnt = NULL;
    char *response = call(network, "org.ueagent.lab.Edge.Register", object(headers, "binding", BINDING, NULL));
    const char *status = result(response, "status");
    const char *list = result(response, "security_server"), *tags = result(response, "unsupported");
    if (status == NULL || list == NULL || tags == NULL)
      die("the network's answer to REGISTER lacks something");
    if (asprintf(&learnt, "\"status\":%d,\"security_server\":%.*s,\"unsupported\":%.*s", atoi(status),
                 (int)(behind(list) - list), list, (int)(behind(tags) - tags), tags) < 0)
      die("no memory");
    free(said);
    said = call(agent, "org.ueagent.Registration.Update", object(learnt, "binding", BINDING, NULL));
    char *next = text(result(said, "next"));
    int done = strcmp(next, "done") == 0, give_up = strcmp(next, "give_up") == 0;
    free(headers), free(learnt), free(response), free(next);
    if (give_up)
      break;
    if (done) {
      request_headers = headers_by_name(result(said, "request_headers"), 1);
      free(said);
      return;
    }
  }
  die("not registered");
}

/* INVITE. The agent hears of a refusal and may have a weaker offer that its policy allows. */
static char *invite(int network, int agent, const char *session, char *sdp) {
  for (;;) {
    char *reply = try_call(network, "org.ueagent.lab.Edge.Originate",
                           object(request_headers, "binding", BINDING, "far_end", "echo", "sdp", sdp, NULL));
    free(sdp);
    if (member(reply, "error") == NULL)
      return reply;
    const char *hint = result(reply, "sip_status_hint");
    char status[32];
    snprintf(status, sizeof status, "\"status\":%d", hint ? atoi(hint) : 500);
    char *again = call(agent, "org.ueagent.Session.OfferFailed", object(status, "session", session, NULL));
    if (result(again, "sdp") == NULL)
      die("the call was refused: %s", text(result(reply, "detail")));
    sdp = text(result(again, "sdp"));
    free(reply), free(again);
  }
}

static char *place_call(int network, int agent, char **dialog) { /* plain offer in, INVITE, plain answer out */
  char *ours = description();
  char *offer = call(agent, "org.ueagent.Session.CreateOffer",
                     object(NULL, "sdp", ours, "binding", BINDING, "signalling", SIGNALLING, NULL));
  char *session = text(result(offer, "session"));
  char *answer = invite(network, agent, session, text(result(offer, "sdp")));
  char *sdp = text(result(answer, "sdp"));
  char *plain =
      call(agent, "org.ueagent.Session.AcceptAnswer", object("\"final\":true", "session", session, "sdp", sdp, NULL));
  connect_phone(text(result(plain, "sdp")));
  *dialog = text(result(answer, "call"));
  free(ours), free(offer), free(answer), free(sdp), free(plain);
  return session;
}

static char *take_call(int network, int agent, char **dialog) { /* INVITE's offer in, plain answer in, answer out */
  char *ringing =
      call(network, "org.ueagent.lab.Edge.Terminate", object("\"far_end\":\"play\"", "binding", BINDING, NULL));
  char *offered = text(result(ringing, "sdp")), *ours = description();
  char *plain = call(agent, "org.ueagent.Session.AcceptOffer",
                     object(NULL, "sdp", offered, "binding", BINDING, "signalling", SIGNALLING, NULL));
  char *session = text(result(plain, "session"));
  char *answer = call(agent, "org.ueagent.Session.CreateAnswer", object(NULL, "session", session, "sdp", ours, NULL));
  char *sdp = text(result(answer, "sdp"));
  *dialog = text(result(ringing, "call"));
  connect_phone(text(result(plain, "sdp")));
  free(call(network, "org.ueagent.lab.Edge.Answer", object(NULL, "call", *dialog, "sdp", sdp, NULL)));
  free(ringing), free(offered), free(ours), free(plain), free(answer), free(sdp);
  return session;
}

static void hang_up(int network, int agent, char *session, char *dialog) { /* the agent wipes the keys */
  free(call(agent, "org.ueagent.Session.Release", object(NULL, "session", session, NULL)));
  free(call(network, "org.ueagent.lab.Edge.Release", object(NULL, "call", dialog, NULL)));
  free(session), free(dialog);
  close(phone.rtp), close(phone.rtcp);
}

static void read_audio(const char *path) {
  FILE *in = fopen(path, "rb");
  if (in == NULL)
    die("%s: %s", path, strerror(errno));
  fseek(in, 0, SEEK_END);
  long len = ftell(in);
  rewind(in);
  phone.audio = malloc(len > 0 ? (size_t)len : 1);
  phone.audio_len = phone.audio && len > 0 ? fread(phone.audio, 1, (size_t)len, in) : 0;
  fclose(in);
}

int main(int argc, char **argv) {
  if (argc != 6 || (strcmp(argv[3], "call") != 0 && strcmp(argv[3], "answer") != 0))
    die("usage: dialer AGENT_SOCKET EDGE_SOCKET call|answer PLAY RECORD");
  int agent = connect_to(argv[1]), network = connect_to(argv[2]);
  read_audio(argv[4]);
  open_phone();
  register_at(network, agent);
  char *dialog = NULL;
  char *session = (strcmp(argv[3], "call") == 0 ? place_call : take_call)(network, agent, &dialog);
  talk();
  char *status = call(agent, "org.ueagent.Session.Status", object(NULL, "session", session, NULL));
  const char *state = result(status, "state");
  printf("%.*s\n", state ? (int)(behind(state) - state) : 0, state ? state : "");
  free(status);
  hang_up(network, agent, session, dialog);
  write_recording(argv[5]);
  free(phone.audio), free(request_headers);
  return 0;
}
