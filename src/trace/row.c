#include "trace/row.h"

#include "base/error.h"

#define TYPE_STR "TEXT"
#define TYPE_IP "TEXT"
#define TYPE_INT "INTEGER"
#define TYPE_COUNT "INTEGER"
#define TYPE_STATUS "INTEGER"
#define TYPE_CLASS "INTEGER"
#define TYPE_DIRECTION "INTEGER"

#define COLUMN(type, member, name, lasting) ", " name " " TYPE_##type
#define NAME(type, member, name, lasting) ", " name
#define MARK(type, member, name, lasting) ", ?"

#define COMMON                                                                                               \
    "trace_id TEXT NOT NULL, recipient TEXT NOT NULL, event INTEGER NOT NULL, turn INTEGER NOT NULL, "       \
    "time INTEGER NOT NULL, precedence INTEGER NOT NULL" TRACE_FIELDS(COLUMN)

/* A user who opens the file by hand finds the names of numbers in `word`. */
const char row_schema[] =
    "CREATE TABLE event(" COMMON ", PRIMARY KEY(trace_id, recipient, event, turn)) WITHOUT ROWID;"
    "CREATE TABLE latest(" COMMON ", PRIMARY KEY(trace_id, recipient)) WITHOUT ROWID;"
    "CREATE TABLE word(column TEXT NOT NULL, number INTEGER NOT NULL, name TEXT NOT NULL);"
#define X(name, value) "INSERT INTO word VALUES('event'," #value ",'" #name "');"
    TRACE_EVENTS(X)
#undef X
#define X(name, value, text) "INSERT INTO word VALUES('status'," #value ",'" text "');"
        TRACE_STATUSES(X)
#undef X
#define X(name, value, text) "INSERT INTO word VALUES('class'," #value ",'" text "');"
            MAIL_CLASSES(X)
#undef X
#define X(name, value, text) "INSERT INTO word VALUES('directionality'," #value ",'" text "');"
                TRACE_DIRECTIONS(X);
#undef X

#define ADD(table, column) "ALTER TABLE " table " ADD COLUMN " column " TEXT;"
#define ADD_TO_BOTH(column) ADD("event", column) ADD("latest", column)

const char *const row_upgrades[ROW_SCHEMA - 1] = {
    ADD_TO_BOTH("arc") ADD_TO_BOTH("original_client_reason"),
    ADD_TO_BOTH("score") ADD_TO_BOTH("symbols"),
    ADD_TO_BOTH("identity"),
};

#define INTO(verb, table)                                                                                    \
    verb " INTO " table "(trace_id, recipient, event, turn, time, precedence" TRACE_FIELDS(                  \
        NAME) ") VALUES(?, ?, ?, ?, ?, ?" TRACE_FIELDS(MARK) ")"

const char row_insert_event[] = INTO("INSERT OR IGNORE", "event");

#define KEEP_0(name)
#define KEEP_1(name) ", " name " = coalesce(excluded." name ", " name ")"
#define KEEP_2(name) KEEP_1(name)
#define REPLACE_0(name) ", " name " = excluded." name
#define REPLACE_1(name) KEEP_1(name)
#define REPLACE_2(name) KEEP_1(name)
#define SET_ATTEMPT(type, member, name, lasting) REPLACE_##lasting(name)
#define SET_OTHER(type, member, name, lasting) KEEP_##lasting(name)

#define UPSERT                                                                                               \
    INTO("INSERT", "latest")                                                                                 \
    " ON CONFLICT(trace_id, recipient) DO UPDATE SET event = excluded.event, turn = excluded.turn, "         \
    "time = excluded.time, precedence = excluded.precedence"
#define NEWER " WHERE excluded.precedence >= precedence"

const char row_update_attempt[] = UPSERT TRACE_FIELDS(SET_ATTEMPT) NEWER;
const char row_update_other[] = UPSERT ", status = excluded.status" TRACE_FIELDS(SET_OTHER) NEWER;

#define FILL_0(name)
#define FILL_1(name) ", " name " = coalesce(" name ", excluded." name ")"
#define FILL_2(name) FILL_1(name)
#define SET_FILL(type, member, name, lasting) FILL_##lasting(name)

const char row_fill[] = INTO(
    "INSERT", "latest") " ON CONFLICT(trace_id, recipient) DO UPDATE SET turn = turn" TRACE_FIELDS(SET_FILL);

#define OWN_0(name) ", e." name
#define OWN_1(name) ", coalesce(e." name ", l." name ")"
#define OWN_2(name) ", e." name
#define FROM_EVENT(type, member, name, lasting) OWN_##lasting(name)
#define FROM_LATEST(type, member, name, lasting) ", l." name

const char row_columns_latest[] = "l.trace_id, l.recipient, l.event, l.time" TRACE_FIELDS(FROM_LATEST);
const char row_columns_event[] = "e.trace_id, e.recipient, e.event, e.time" TRACE_FIELDS(FROM_EVENT);

bool row_is_attempt(enum trace_kind kind) {
    return kind == TRACE_SEND || kind == TRACE_DEFER || kind == TRACE_FAIL || kind == TRACE_DROP ||
           kind == TRACE_REFUSE;
}

static const struct {
    enum trace_status status;
    bool final;
    bool repeats; /* has no attempt number: its time tells repeats apart */
    int rank;     /* among events of one millisecond */
} facts[] = {
    [TRACE_RECEIVE] = {TRACE_STATUS_PENDING, false, false, 0},
    [TRACE_REFUSE] = {TRACE_STATUS_FAILED, true, true, 2},
    [TRACE_SEND] = {TRACE_STATUS_DELIVERED, true, false, 2},
    [TRACE_DEFER] = {TRACE_STATUS_PENDING, false, false, 1},
    [TRACE_FAIL] = {TRACE_STATUS_FAILED, true, false, 2},
    [TRACE_DSN] = {0, false, true, 3},
    [TRACE_DROP] = {TRACE_STATUS_FAILED, true, false, 3},
    [TRACE_HOLD] = {TRACE_STATUS_PENDING, false, true, 1},
    [TRACE_RELEASE] = {TRACE_STATUS_PENDING, false, true, 1},
    [TRACE_CANCEL] = {TRACE_STATUS_CANCELLED, true, false, 2},
};

static bool known(enum trace_kind kind) { return (unsigned)kind < sizeof facts / sizeof facts[0]; }

enum trace_status row_status(enum trace_kind kind) { return known(kind) ? facts[kind].status : 0; }

/* What ended a recipient stands above everything that was said before its end, also when the clock was set
 * back between the two. A report is no state: anything stands above it. */
static int64_t precedence(const struct trace_event *event) {
    const int64_t final = (int64_t)1 << 60;
    if (!known(event->event) || event->event == TRACE_DSN)
        return facts[TRACE_DSN].rank;
    return (facts[event->event].final ? final : 0) + event->time * 4 + facts[event->event].rank;
}

static int bind_STR(sqlite3_stmt *s, int at, struct str value) {
    if (!value.at)
        return sqlite3_bind_null(s, at);
    return sqlite3_bind_text(s, at, value.at, (int)value.len, SQLITE_STATIC);
}

static int bind_IP(sqlite3_stmt *s, int at, struct ip value) {
    char text[IP_TEXT_SIZE];
    if (ip_is_none(&value))
        return sqlite3_bind_null(s, at);
    return sqlite3_bind_text(s, at, ip_text(&value, text), -1, SQLITE_TRANSIENT);
}

static int bind_COUNT(sqlite3_stmt *s, int at, int64_t value) { return sqlite3_bind_int64(s, at, value); }
static int bind_INT(sqlite3_stmt *s, int at, int64_t value) {
    return value ? sqlite3_bind_int64(s, at, value) : sqlite3_bind_null(s, at);
}
static int bind_STATUS(sqlite3_stmt *s, int at, enum trace_status value) {
    return bind_INT(s, at, (int64_t)value);
}
static int bind_DIRECTION(sqlite3_stmt *s, int at, enum trace_direction value) {
    return bind_INT(s, at, (int64_t)value);
}
static int bind_CLASS(sqlite3_stmt *s, int at, struct trace_class value) {
    return value.known ? sqlite3_bind_int64(s, at, (int64_t)value.value) : sqlite3_bind_null(s, at);
}

int row_bind(sqlite3_stmt *s, const struct trace_event *event) {
    bool repeats = known(event->event) && facts[event->event].repeats;
    int at = 7;
    int bad = sqlite3_bind_text(s, 1, event->trace_id.text, TRACE_ID_LEN, SQLITE_STATIC);
    bad |= sqlite3_bind_text(s, 2, event->recipient.at ? event->recipient.at : "", (int)event->recipient.len,
                             SQLITE_STATIC);
    bad |= sqlite3_bind_int64(s, 3, event->event);
    bad |= sqlite3_bind_int64(s, 4, repeats ? event->time : event->attempts);
    bad |= sqlite3_bind_int64(s, 5, event->time);
    bad |= sqlite3_bind_int64(s, 6, precedence(event));
#define FIELD(type, member, name, lasting) bad |= bind_##type(s, at++, event->member);
    TRACE_FIELDS(FIELD)
#undef FIELD
    return bad ? SLUICE_ENOMEM : 0;
}

static struct str read_STR(sqlite3_stmt *s, int at) {
    if (sqlite3_column_type(s, at) == SQLITE_NULL)
        return STR_NULL;
    const void *text = sqlite3_column_text(s, at);
    return text ? str_from(text, (size_t)sqlite3_column_bytes(s, at)) : STR_NULL;
}
static struct ip read_IP(sqlite3_stmt *s, int at) {
    struct ip ip = {0};
    struct str text = read_STR(s, at);
    if (!text.at || !ip_parse(text, &ip))
        memset(&ip, 0, sizeof ip);
    return ip;
}
static int64_t read_INT(sqlite3_stmt *s, int at) { return sqlite3_column_int64(s, at); }
static int64_t read_COUNT(sqlite3_stmt *s, int at) { return read_INT(s, at); }
static enum trace_status read_STATUS(sqlite3_stmt *s, int at) { return (enum trace_status)read_INT(s, at); }
static enum trace_direction read_DIRECTION(sqlite3_stmt *s, int at) {
    return (enum trace_direction)read_INT(s, at);
}
static struct trace_class read_CLASS(sqlite3_stmt *s, int at) {
    struct trace_class class = {.known = sqlite3_column_type(s, at) != SQLITE_NULL};
    class.value = (enum mail_class)read_INT(s, at);
    return class;
}

void row_read(sqlite3_stmt *s, struct trace_event *ret) {
    int at = 4;
    memset(ret, 0, sizeof *ret);
    struct str id = str_head(read_STR(s, 0), TRACE_ID_LEN);
    if (id.len)
        memcpy(ret->trace_id.text, id.at, id.len);
    ret->recipient = read_STR(s, 1);
    ret->event = (enum trace_kind)read_INT(s, 2);
    ret->time = read_INT(s, 3);
#define FIELD(type, member, name, lasting) ret->member = read_##type(s, at++);
    TRACE_FIELDS(FIELD)
#undef FIELD
}
