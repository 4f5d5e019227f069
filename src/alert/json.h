/* json.h - members of the objects in which alerts are told. Not for other rooms. */
#pragma once
#include "base/buf.h"

/* `,"name":"value"`; null for an empty value. */
void alert_json_text(struct buf *, const char *name, struct str value);
/* The same with a time (wall ms); null for 0. */
void alert_json_time(struct buf *, const char *name, int64_t time);
