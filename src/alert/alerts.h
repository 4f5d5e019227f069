/* alerts.h - the desk that alerts go to: opened and closed by the daemon. */
#pragma once
#include "alert/alert.h"
#include "base/log.h"

/* `log` must outlive it. Never NULL. */
struct alerts *alerts_open(struct log *log);

/* No other thread may raise any more. NULL is fine. */
struct alerts *alerts_free(struct alerts *);
