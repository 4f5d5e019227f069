/* recorder.h - hooks for tests of the server: they write down what they were asked, and answer by the
 * names in the addresses. */
#pragma once
#include "smtp/server.h"

struct recorder {
    struct buf calls;    /* one word a call */
    struct buf body;     /* of all messages */
    int stop_at;         /* `stopping` turns true at this call; 0: never */
    int asked;           /* calls of `stopping` */
    int open, connected; /* balance of mail against data_end and reset; connect against closed */
    int error;           /* what closed said */
    bool refuse_connect;
};

extern const struct smtp_server_hooks recorder_hooks;
void recorder_free(struct recorder *);
