/*
 * Sends datagrams that were built beforehand and measures the answers. It knows two things of RADIUS: octet 0 is the
 * code and octet 1 the identifier. No cryptography, no names, no clock arithmetic beyond the latency; and it refuses
 * to talk to anything but the loopback.
 *
 *   packets file   (u16be length, that many octets) repeated
 *   replies file   (u32be packet number, u16be length, that many octets) repeated, in order of arrival
 *
 * Packet j belongs to socket j mod K, and its builder gave it the identifier (j / K) mod 256. An identifier that is
 * still under way on its socket holds that socket back, and no other.
 *
 *   closed loop    each socket keeps its share of --outstanding under way: a reply brings the next packet
 *   open loop      packet j leaves at j / rate seconds, whatever has come back; its latency counts from that moment
 *
 * One line of JSON on stdout. Exit status 0 if the run took place (the counts say how it went), 2 if it could not.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { IDS = 256, BATCH = 64, MAX_SOCKETS = 64, MAX_OUTSTANDING = 8192, MAX_PACKETS = 5000000, LONGEST = 4096 };
static const double MAX_SECONDS = 120.0;

typedef struct { const uint8_t *octets; uint16_t length; } packet_t;

/* One identifier of one socket: the packet under way there, if any. */
typedef struct { int64_t packet; double since, sent; int tries; } slot_t;

typedef struct {
    int fd;
    int64_t next;            /* the next packet of this socket: index, then + K */
    int under_way, share;    /* share: how many may be under way (closed loop) */
    slot_t slots[IDS];
} lane_t;

static struct {
    const char *to, *from, *packets, *replies;
    int sockets, outstanding, tries;
    double rate, seconds, timeout;
    int64_t count, replies_max;
} want = {.from = "127.0.0.1", .sockets = 1, .outstanding = 1, .tries = 3, .seconds = 5, .timeout = 1.0,
          .count = MAX_PACKETS, .replies_max = 0};

static lane_t lanes[MAX_SOCKETS];
static packet_t *packets;
static int64_t packet_count;
static uint32_t *latencies;                                  /* microseconds, one for each reply */
static int64_t answered, sent, accepted, challenged, rejected, other, lost, repeated, stray, under_way, late, kept;
static double last_reply;
static FILE *replies;

static void die(const char *what)
{
    fprintf(stderr, "loadgen: %s%s%s\n", what, errno ? ": " : "", errno ? strerror(errno) : "");
    exit(2);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void read_packets(void)
{
    FILE *f = fopen(want.packets, "rb");
    struct stat facts;
    if (!f || fstat(fileno(f), &facts) < 0) die("cannot read the packets file");
    size_t size = (size_t)facts.st_size;
    uint8_t *all = malloc(size + 1);
    packets = calloc(MAX_PACKETS, sizeof *packets);
    if (!all || !packets || fread(all, 1, size, f) != size) die("cannot read the packets file");
    fclose(f);
    for (size_t at = 0; at < size && packet_count < want.count;) {
        if (at + 2 > size) die("the packets file ends within a length");
        uint16_t length = (uint16_t)(all[at] << 8 | all[at + 1]);
        if (length < 20 || length > LONGEST || at + 2 + length > size) die("the packets file is damaged");
        const uint8_t *octets = all + at + 2;
        if (octets[1] != (uint8_t)(packet_count / want.sockets)) die("an identifier is not the one of its place");
        packets[packet_count++] = (packet_t){octets, length};
        at += 2u + length;
    }
    latencies = malloc(sizeof *latencies * (size_t)(packet_count + 1));
    if (!packet_count || !latencies) die("no packets");
}

static struct sockaddr_in loopback(const char *host, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    errno = 0;
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1) die("not an IPv4 address");
    if (ntohl(address.sin_addr.s_addr) >> 24 != 127) die("only loopback addresses are served");
    return address;
}

static void open_lanes(void)
{
    char host[32];
    int port, buffer = 4 << 20;
    if (!want.to || sscanf(want.to, "%31[0-9.]:%d", host, &port) != 2 || port < 1 || port > 65535)
        die("--to wants ADDRESS:PORT");
    struct sockaddr_in to = loopback(host, port), from = loopback(want.from, 0);
    for (int k = 0; k < want.sockets; k++) {
        lane_t *lane = &lanes[k];
        lane->fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
        if (lane->fd < 0) die("socket");
        setsockopt(lane->fd, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
        if (bind(lane->fd, (struct sockaddr *)&from, sizeof from) < 0) die("cannot bind the source address");
        if (connect(lane->fd, (struct sockaddr *)&to, sizeof to) < 0) die("connect");
        lane->next = k;
        lane->share = want.outstanding / want.sockets + (k < want.outstanding % want.sockets);
        for (int id = 0; id < IDS; id++) lane->slots[id].packet = -1;
    }
}

/* A full socket buffer or a refused port loses the datagram, as a network would; the time-out takes care of it. */
static void transmit(lane_t *lane, const int64_t *which, unsigned n)
{
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    memset(messages, 0, sizeof *messages * n);
    for (unsigned i = 0; i < n; i++) {
        parts[i] = (struct iovec){(void *)packets[which[i]].octets, packets[which[i]].length};
        messages[i].msg_hdr.msg_iov = &parts[i];
        messages[i].msg_hdr.msg_iovlen = 1;
    }
    for (unsigned done = 0; done < n;) {
        int k = sendmmsg(lane->fd, messages + done, n - done, 0);
        done += k > 0 ? (unsigned)k : 1;
    }
}

/* Sends what the lane may send at this moment: `due` is the number of packets released so far (open loop). */
static void fill(lane_t *lane, int64_t due, double start)
{
    int64_t batch[BATCH];
    for (;;) {
        unsigned n = 0;
        double at = now();
        while (n < BATCH && lane->next < due && lane->next < packet_count) {
            if (want.rate == 0 && lane->under_way >= lane->share) break;
            slot_t *slot = &lane->slots[packets[lane->next].octets[1]];
            if (slot->packet >= 0) break;
            *slot = (slot_t){lane->next, want.rate > 0 ? start + (double)lane->next / want.rate : at, at, 1};
            if (want.rate > 0 && at - slot->since > 0.001) late++;
            batch[n++] = lane->next;
            lane->next += want.sockets;
            lane->under_way++, under_way++, sent++;
        }
        if (!n) return;
        transmit(lane, batch, n);
    }
}

static void keep(int64_t packet, const uint8_t *octets, uint16_t length)
{
    uint8_t head[6] = {(uint8_t)(packet >> 24), (uint8_t)(packet >> 16), (uint8_t)(packet >> 8), (uint8_t)packet,
                       (uint8_t)(length >> 8), (uint8_t)length};
    if (!replies || kept >= want.replies_max) return;
    if (fwrite(head, sizeof head, 1, replies) != 1 || fwrite(octets, length, 1, replies) != 1) die("replies file");
    kept++;
}

static void settle(lane_t *lane, const uint8_t *octets, unsigned length, double at)
{
    slot_t *slot = length >= 20 ? &lane->slots[octets[1]] : NULL;
    if (!slot || slot->packet < 0) {
        stray++;
        return;
    }
    latencies[answered++] = (uint32_t)((at - slot->since) * 1e6);
    switch (octets[0]) {
    case 2: accepted++; break;
    case 3: rejected++; break;
    case 11: challenged++; break;
    default: other++;
    }
    keep(slot->packet, octets, (uint16_t)length);
    slot->packet = -1;
    lane->under_way--, under_way--;
    last_reply = at;
}

static void drain(lane_t *lane)
{
    static uint8_t octets[BATCH][LONGEST];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    for (;;) {
        memset(messages, 0, sizeof messages);
        for (int i = 0; i < BATCH; i++) {
            parts[i] = (struct iovec){octets[i], LONGEST};
            messages[i].msg_hdr.msg_iov = &parts[i];
            messages[i].msg_hdr.msg_iovlen = 1;
        }
        int n = recvmmsg(lane->fd, messages, BATCH, MSG_DONTWAIT, NULL);
        if (n < 0 && errno == ECONNREFUSED) continue;      /* a pending ICMP error, reported once */
        if (n <= 0) return;
        double at = now();
        for (int i = 0; i < n; i++) settle(lane, octets[i], messages[i].msg_len, at);
        if (n < BATCH) return;
    }
}

/* The same octets again after each time-out; after the last try the packet is lost. */
static void repeat_or_give_up(lane_t *lane)
{
    double at = now();
    for (int id = 0; lane->under_way > 0 && id < IDS; id++) {
        slot_t *slot = &lane->slots[id];
        if (slot->packet < 0 || at - slot->sent < want.timeout) continue;
        if (slot->tries >= want.tries) {
            slot->packet = -1;
            lane->under_way--, under_way--, lost++;
            continue;
        }
        transmit(lane, &slot->packet, 1);
        slot->sent = at;
        slot->tries++, repeated++;
    }
}

static double run(void)
{
    struct pollfd polled[MAX_SOCKETS];
    for (int k = 0; k < want.sockets; k++) polled[k] = (struct pollfd){lanes[k].fd, POLLIN, 0};
    double start = now(), end = start + want.seconds, sweep = start + want.timeout / 4;
    for (bool touched_all = true;;) {
        double at = now();
        int64_t due = want.rate > 0 ? (int64_t)((at - start) * want.rate) + 1 : packet_count;
        bool sending = at < end && sent < packet_count;
        for (int k = 0; sending && k < want.sockets; k++)
            if (touched_all || want.rate > 0 || polled[k].revents) fill(&lanes[k], due, start);
        if (!under_way && (at >= end || sent >= packet_count)) break;
        double until = sweep;
        if (sending && want.rate > 0 && due < packet_count && start + (double)due / want.rate < until)
            until = start + (double)due / want.rate;
        double rest = until - now();
        struct timespec pause = {0, rest <= 0 ? 0 : rest >= 1 ? 999999999L : (long)(rest * 1e9)};
        int ready = ppoll(polled, (nfds_t)want.sockets, &pause, NULL);
        for (int k = 0; ready > 0 && k < want.sockets; k++)
            if (polled[k].revents) drain(&lanes[k]);
        touched_all = now() >= sweep;
        if (touched_all) {
            for (int k = 0; k < want.sockets; k++) repeat_or_give_up(&lanes[k]);
            sweep = now() + want.timeout / 4;
        }
    }
    return start;
}

static int by_size(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

static uint32_t percentile(double share)
{
    int64_t rank = (int64_t)(share * (double)answered + 0.999999);
    return answered ? latencies[rank > 0 ? rank - 1 : 0] : 0;
}

static void report(double start)
{
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec)
               + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
    double elapsed = answered ? last_reply - start : now() - start;
    qsort(latencies, (size_t)answered, sizeof *latencies, by_size);
    printf("{\"sent\": %" PRId64 ", \"accepted\": %" PRId64 ", \"challenged\": %" PRId64 ", \"rejected\": %" PRId64
           ", \"other\": %" PRId64 ", \"lost\": %" PRId64 ", \"repeated\": %" PRId64 ", \"stray\": %" PRId64
           ", \"late\": %" PRId64, sent, accepted, challenged, rejected, other, lost, repeated, stray, late);
    printf(", \"elapsed_s\": %.6f, \"rate\": %.2f, \"p50_us\": %u, \"p95_us\": %u, \"p99_us\": %u, \"max_us\": %u"
           ", \"cpu_s\": %.4f}\n", elapsed, elapsed > 0 ? (double)answered / elapsed : 0.0, percentile(0.50),
           percentile(0.95), percentile(0.99), percentile(1.0), cpu);
}

static void usage(void)
{
    puts("loadgen --to 127.0.0.1:PORT --packets FILE [--from 127.0.0.N] [--sockets K]\n"
         "        [--outstanding N | --rate PER_SECOND] [--seconds S] [--count N]\n"
         "        [--timeout S] [--tries N] [--replies FILE --replies-max N]");
    exit(0);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"to", 1, 0, 't'}, {"from", 1, 0, 'f'}, {"packets", 1, 0, 'p'}, {"replies", 1, 0, 'w'},
        {"replies-max", 1, 0, 'm'}, {"sockets", 1, 0, 'k'}, {"outstanding", 1, 0, 'o'}, {"rate", 1, 0, 'r'},
        {"seconds", 1, 0, 's'}, {"count", 1, 0, 'c'}, {"timeout", 1, 0, 'x'}, {"tries", 1, 0, 'n'},
        {"help", 0, 0, 'h'}, {0, 0, 0, 0}};
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        switch (option) {
        case 't': want.to = optarg; break;
        case 'f': want.from = optarg; break;
        case 'p': want.packets = optarg; break;
        case 'w': want.replies = optarg; break;
        case 'm': want.replies_max = atoll(optarg); break;
        case 'k': want.sockets = atoi(optarg); break;
        case 'o': want.outstanding = atoi(optarg); break;
        case 'r': want.rate = atof(optarg); break;
        case 's': want.seconds = atof(optarg); break;
        case 'c': want.count = atoll(optarg); break;
        case 'x': want.timeout = atof(optarg); break;
        case 'n': want.tries = atoi(optarg); break;
        case 'h': usage(); break;
        default: return 2;
        }
    }
    errno = 0;
    if (want.sockets < 1 || want.sockets > MAX_SOCKETS) die("--sockets is out of bounds");
    if (want.rate == 0 && want.outstanding < want.sockets) die("fewer outstanding than sockets");
    if (want.outstanding > want.sockets * IDS || want.outstanding > MAX_OUTSTANDING) die("too many outstanding");
    if (!(want.seconds > 0 && want.seconds <= MAX_SECONDS)) die("--seconds is out of bounds");
    if (!(want.timeout >= 0.01 && want.timeout <= 60) || want.tries < 1 || want.tries > 10) die("--timeout, --tries");
    if (want.rate < 0 || want.rate > 1e6 || want.count < 1 || want.count > MAX_PACKETS) die("--rate, --count");
    if (!want.packets) die("--packets is missing");
    read_packets();
    open_lanes();
    if (want.replies && !(replies = fopen(want.replies, "wb"))) die("cannot write the replies file");
    double start = run();
    if (replies && fclose(replies) != 0) die("replies file");
    report(start);
    return 0;
}
