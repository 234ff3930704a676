
/*
 * A client that remembers which of its requests were answered.
 *
 *   load PORT COUNT CONNECTIONS RATE FILE
 *
 * Sends the requests 1 to COUNT once each, request n with the header
 * "X-N: n", over keepalive connections to 127.0.0.1, RATE a second at the
 * most (0: as fast as they are answered).  FILE gets COUNT + 1 numbers of 16
 * bits: the status that n was answered with, whole, or 0.  A connection that
 * breaks costs the request on it, which is not sent again.  Ends by itself;
 * the last line tells what came of it.
 */

#define _GNU_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define LOAD_IDLE_MS   10       /* before a refused connection is tried again */
#define LOAD_GIVE_UP   60000    /* ms without one answer                      */


typedef struct {
    int       fd;               /* -1: not connected                         */
    uint32_t  n;                /* the request on it, 0: none                */
    size_t    len;
    char      buffer[8192];
} load_connection_t;


static int                 load_port, load_epoll;
static uint32_t            load_count, load_next;
static uint16_t           *load_status;
static load_connection_t  *load_connections;


static uint64_t
load_ms(void)
{
    struct timespec  ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);

    return (uint64_t) ts.tv_sec * 1000 + (uint64_t) ts.tv_nsec / 1000000;
}


static void
load_close(load_connection_t *c)
{
    close(c->fd);
    c->fd = -1;
    c->n = 0;
    c->len = 0;
}


static bool
load_connect(load_connection_t *c)
{
    int                 one;
    struct sockaddr_in  sin;
    struct epoll_event  event;

    one = 1;

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons((uint16_t) load_port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    c->fd = socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, 0);

    if (c->fd == -1
        || connect(c->fd, (struct sockaddr *) &sin, sizeof(sin)) == -1)
    {
        if (c->fd != -1) {
            load_close(c);
        }
        return false;
    }

    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));

    event.events = EPOLLIN;
    event.data.ptr = c;
    epoll_ctl(load_epoll, EPOLL_CTL_ADD, c->fd, &event);

    return true;
}


static void
load_send(load_connection_t *c)
{
    int   len;
    char  request[256];

    c->n = ++load_next;
    c->len = 0;

    len = snprintf(request, sizeof(request),
                   "GET /v1/models?n=%u HTTP/1.1\r\n"
                   "Host: api.example\r\n"
                   "Authorization: Bearer client-%u\r\n"
                   "X-N: %u\r\n\r\n", c->n, c->n % 10, c->n);

    if (send(c->fd, request, (size_t) len, MSG_NOSIGNAL) != len) {
        load_close(c);
    }
}


/* true: a whole response is in the buffer */

static bool
load_whole(load_connection_t *c)
{
    char  *head, *length;

    c->buffer[c->len] = '\0';
    head = strstr(c->buffer, "\r\n\r\n");

    if (head == NULL) {
        return false;
    }

    length = strcasestr(c->buffer, "\r\nContent-Length:");

    if (length == NULL || length > head) {
        fprintf(stderr, "load: a response without a length\n%s", c->buffer);
        exit(2);
    }

    return c->len >= (size_t) (head + 4 - c->buffer)
                     + (size_t) atol(length + 17);
}


/* true: answered */

static bool
load_read(load_connection_t *c)
{
    ssize_t  n;

    n = recv(c->fd, c->buffer + c->len, sizeof(c->buffer) - 1 - c->len, 0);

    if (n <= 0) {
        load_close(c);
        return false;
    }

    c->len += (size_t) n;

    if (c->n == 0 || !load_whole(c)) {
        return false;
    }

    load_status[c->n] = (uint16_t) atoi(c->buffer + 9);
    c->n = 0;

    if (strcasestr(c->buffer, "\r\nConnection: close") != NULL) {
        load_close(c);
    }

    return true;
}


int
main(int argc, char **argv)
{
    int                 i, ready, connections;
    FILE               *f;
    long                rate;
    uint32_t            answered, broken, allowed;
    uint64_t            start, now, last, refused_at;
    load_connection_t  *c;
    struct epoll_event  events[256];

    if (argc != 6) {
        fprintf(stderr, "usage: load PORT COUNT CONNECTIONS RATE FILE\n");
        return 2;
    }

    load_port = atoi(argv[1]);
    load_count = (uint32_t) atol(argv[2]);
    connections = atoi(argv[3]);
    rate = atol(argv[4]);

    load_epoll = epoll_create1(EPOLL_CLOEXEC);
    load_status = calloc(load_count + 1, sizeof(uint16_t));
    load_connections = calloc((size_t) connections, sizeof(*c));

    if (load_epoll == -1 || load_status == NULL || load_connections == NULL) {
        perror("load");
        return 2;
    }

    for (i = 0; i < connections; i++) {
        load_connections[i].fd = -1;
    }

    start = last = load_ms();
    refused_at = 0;
    answered = 0;

    for ( ;; ) {
        now = load_ms();
        allowed = load_count;

        if (rate != 0 && (now - start) * (uint64_t) rate / 1000 < load_count) {
            allowed = (uint32_t) ((now - start) * (uint64_t) rate / 1000);
        }

        ready = 0;

        for (i = 0; i < connections; i++) {
            c = &load_connections[i];

            if (c->n == 0 && load_next < allowed) {

                if (c->fd == -1 && now - refused_at >= LOAD_IDLE_MS
                    && !load_connect(c))
                {
                    refused_at = now;
                }

                if (c->fd != -1) {
                    load_send(c);
                }
            }

            ready += (c->n != 0);
        }

        if (load_next == load_count && ready == 0) {
            break;
        }

        if (now - last > LOAD_GIVE_UP) {
            fprintf(stderr, "load: no answer for %d ms\n", LOAD_GIVE_UP);
            break;
        }

        ready = epoll_wait(load_epoll, events, 256, 1);

        for (i = 0; i < ready; i++) {
            if (load_read(events[i].data.ptr)) {
                answered++;
                last = now;
            }
        }
    }

    broken = load_next - answered;

    f = fopen(argv[5], "wb");

    if (f == NULL
        || fwrite(load_status, sizeof(uint16_t), load_count + 1, f)
           != load_count + 1
        || fclose(f) != 0)
    {
        perror(argv[5]);
        return 2;
    }

    printf("sent=%u answered=%u broken=%u seconds=%.1f\n", load_next,
           answered, broken, (double) (load_ms() - start) / 1000);

    return 0;
}
