/* object.h - one JSON object on one line, built member by member. */
#pragma once
#include "base/buf.h"
#include "base/ip.h"

void object_open(struct buf *);
/* Empty: null. */
void object_text(struct buf *, const char *name, struct str);
void object_number(struct buf *, const char *name, int64_t);
void object_bool(struct buf *, const char *name, bool);
/* RFC 3339; 0: null. */
void object_time(struct buf *, const char *name, int64_t wall_ms);
void object_ip(struct buf *, const char *name, const struct ip *);
/* Ends it, with a line end. */
void object_close(struct buf *);
