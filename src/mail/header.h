/* header.h - a message's header block: its fields in order, byte for byte.
 *
 * Total: any bytes give a header, possibly an empty one. The header ends at the
 * first empty line, or before the first line that is no header line. Lines end
 * with CRLF; a lone LF is taken as a line end too. Nothing is changed.
 */
#pragma once
#include "base/buf.h"
#include "base/str.h"

enum {
    HEADER_BYTES_MAX = 1 << 20, /* the default bound on a whole header */
    HEADER_FIELDS_MAX = 10000,
    HEADER_RECEIVED_MAX = 50, /* this many Received fields or more are a loop: 554 5.4.6 (RFC 5321 6.3) */
};

struct header_field {
    struct str whole; /* name to line end, folded lines included */
    struct str name;  /* without colon and the blanks before it */
    struct str value; /* after the colon, folds as they are, without the last line end */
};

struct header {
    struct header_field *fields;
    size_t count;
    struct str whole; /* all fields; without the empty line */
    size_t body_at;   /* offset in the message of the first byte of the body */
    bool separated;   /* an empty line stood between header and body; if not, put one there before fields are
                     added:   receivers differ in how they read on */
};

/* Reads the header of `message` (the whole of it, or at least its header). SLUICE_ETOOBIG when the header is
 * longer than `max_bytes` (0: HEADER_BYTES_MAX) or has too many fields (554 5.6.0); *ret is then untouched.
 */
[[nodiscard]] int header_parse(struct arena *, struct str message, size_t max_bytes, struct header *ret);

/* The first field of that name (ASCII case ignored) after `after` (NULL: from the start), or NULL. */
const struct header_field *header_find(const struct header *, struct str name,
                                       const struct header_field *after);
size_t header_count(const struct header *, struct str name);
/* The unfolded, trimmed value of the first such field, or the NULL view. */
struct str header_value(struct arena *, const struct header *, struct str name);

/* A value on one line: line ends removed (RFC 5322 2.2.3), trimmed. Looks at the input when it has none. */
struct str header_unfold(struct arena *, struct str value);

/* Writes "Name: value" folded at blanks near 76 columns, with CRLF. `value` is on one line and of printable
 * bytes; CR, LF and NUL in it become blanks, so a value can't start a field of its own. */
void header_write(struct buf *, struct str name, struct str value);

/* Finds the end of the header while the message streams in. Zero-initialise. */
struct header_end {
    size_t line_at; /* where the current line starts */
    size_t seen;    /* bytes fed */
    size_t body_at; /* when found */
    uint8_t state;
    bool found, separated;
};

/* Feeds the next bytes; true once the end is found: body_at counts from the first byte fed. Further calls
 * change nothing. */
bool header_end_feed(struct header_end *, struct str bytes);
/* What a whole line is, apart from those before it. */
enum header_line { HEADER_LINE_FIELD, HEADER_LINE_CONTINUED, HEADER_LINE_EMPTY, HEADER_LINE_OTHER };
enum header_line header_line_kind(struct str line);
/* The message ended: what was not found is where it ends. */
void header_end_finish(struct header_end *);
