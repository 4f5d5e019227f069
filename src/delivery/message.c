#include "delivery/message.h"

#include "acceptance/rewrite.h"
#include "base/clock.h"
#include "mail/convert.h"
#include "rt/fiber.h"
#include "seeded_bug.h"

enum { CHUNK = 64 * 1024 };

struct message_source {
    struct spool *spool;
    struct spool_reader *reader;
    struct convert *convert; /* NULL: bytes go as they are */
    struct str prefix;
    struct str signatures; /* made anew for what the conversion makes; they go out first */
    bool prefix_given, ended;
    struct buf out; /* of the conversion */
    size_t len;     /* of the call that is offloaded */
    int error;
    uint64_t message;
    char *chunk;
    size_t room;
};

static void open_offloaded(void *arg) {
    struct message_source *s = arg;
    s->error = spool_reader_open(s->spool, s->message, SPOOL_WAIT, &s->reader);
}

static void next_offloaded(void *arg) {
    struct message_source *s = arg;
    s->error = spool_reader_next(s->reader, SPOOL_WAIT, s->chunk, s->room, &s->len);
}

/* The next raw bytes: the prefix, then the body. */
static int next_raw(struct message_source *s, struct str *ret) {
    if (!s->prefix_given && s->prefix.len) {
        s->prefix_given = true;
        *ret = s->prefix;
        return 0;
    }
    s->prefix_given = true;
    s->error = spool_reader_next(s->reader, SPOOL_NOWAIT, s->chunk, s->room, &s->len);
    if (s->error == SLUICE_EBUSY)
        offload(next_offloaded, s);
    *ret = str_from(s->chunk, s->error ? 0 : s->len);
    return s->error;
}

/* Can it be made 7-bit, and must it? */
static int scan(struct message_source *s) {
    struct str piece;
    int error;
    s->convert = convert_new();
    while ((error = next_raw(s, &piece)) == 0 && piece.len)
        if ((error = convert_scan(s->convert, piece)) != 0)
            return error;
    if (!error)
        error = convert_scan_end(s->convert);
    if (!error && !convert_needed(s->convert))
        s->convert = convert_free(s->convert);
    spool_reader_rewind(s->reader);
    s->prefix_given = false;
    return error;
}

/* The next of the converted bytes; empty at the end. */
static int next_converted(struct message_source *s, struct str *ret) {
    struct str piece;
    buf_clear(&s->out);
    while (!s->out.len && !s->ended) {
        int error = next_raw(s, &piece);
        if (error)
            return error;
        s->ended = piece.len == 0;
        error = s->ended ? convert_write_end(s->convert, &s->out) : convert_write(s->convert, piece, &s->out);
        if (error)
            return error;
    }
    *ret = buf_view(&s->out);
    return 0;
}

static void from_the_start(struct message_source *s) {
    spool_reader_rewind(s->reader);
    s->prefix_given = s->ended = false;
    convert_again(s->convert);
}

/* Header and body's digest of what the conversion makes. */
static int digest_converted(struct message_source *s, struct buf *head, uint8_t out[DKIM_DIGEST_SIZE]) {
    struct body_hash *hash = body_hash_new();
    struct header_end end = {0};
    struct str piece;
    int error;
    while ((error = next_converted(s, &piece)) == 0 && piece.len) {
        if (end.found) {
            body_hash_feed(hash, piece);
            continue;
        }
        buf_str(head, piece);
        if (header_end_feed(&end, piece))
            body_hash_feed(hash, str_from_index(buf_view(head), end.body_at));
    }
    body_hash_end(hash, out);
    body_hash_free(hash);
    from_the_start(s);
    return error;
}

/* What we signed when it came in does not fit any more: signed anew, as now configured. A seal of ours is
 * left out: it says what was true on arrival. */
static int sign_converted(struct message_source *s, struct flow *flow, const struct spool_message *m,
                          struct arena *arena) {
    struct buf head __attribute__((cleanup(buf_free))) = {0};
    uint8_t digest[DKIM_DIGEST_SIZE];
    struct str fields = STR("");
    struct settings *settings = flow_settings(flow);
    int error = digest_converted(s, &head, digest);
    if (!error)
        error = rewrite_sign_again(policy_tenant(settings->policy, m->tenant), m->sender, buf_view(&head),
                                   digest, arena, &fields);
    settings_unref(settings);
    s->signatures = fields;
    return error;
}

struct outcome message_damaged(void) {
    return (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_NEVER,
        .code = 554,
        .enhanced = STR("5.3.0"),
        .text = STR("The stored message is damaged and can't be sent; please send it again"),
    };
}

static struct outcome why_not(const struct message_source *s, int error, struct arena *arena) {
    if (s->convert && (error == SLUICE_EDENIED || error == SLUICE_ETOOBIG))
        return (struct outcome){
            .scope = OUTCOME_MESSAGE,
            .fate = OUTCOME_NEVER,
            .code = 554,
            .enhanced = STR("5.6.3"),
            .text =
                str_printf(arena, "The receiver takes no 8-bit mail and the message can't be converted: %s",
                           convert_why(s->convert)),
        };
    if (error == SLUICE_ECORRUPT)
        return message_damaged();
    return (struct outcome){
        .scope = OUTCOME_MESSAGE,
        .fate = OUTCOME_LATER,
        .code = 451,
        .enhanced = STR("4.3.0"),
        .text = str_printf(arena, "the stored message can't be read: %s", error_text(error)),
    };
}

static int open_converted(struct message_source *s, struct flow *flow, const struct spool_message *m,
                          const struct spool_group *group, struct arena *arena) {
    s->prefix = str_from_index(group->header_prefix, rewrite_vouched(group));
    int error = scan(s);
    if (!error && !s->convert)
        s->prefix = group->header_prefix;
#ifdef SLUICE_SEEDED_BUG_STALE_SIGNATURES
    s->prefix = group->header_prefix;
    return error;
#endif
    return error || !s->convert || !rewrite_signed(group, arena) ? error : sign_converted(s, flow, m, arena);
}

int message_open(struct flow *flow, const struct delivery *delivery, const struct spool_message *m,
                 bool to_7bit, struct smtp_mail *mail, struct arena *arena, struct message_source **ret,
                 struct outcome *ret_why) {
    struct message_source *s = arena_new_of(arena, struct message_source);
    const struct spool_group *group = &m->groups[delivery->group];
    s->spool = flow->spool;
    s->message = delivery->message;
    s->prefix = group->header_prefix;
    s->error = spool_reader_open(flow->spool, s->message, SPOOL_NOWAIT, &s->reader);
    if (s->error == SLUICE_EBUSY)
        offload(open_offloaded, s);
    int error = s->error;
    if (!error) {
        uint64_t size = spool_reader_size(s->reader);
        s->room = size < CHUNK ? (size_t)size + 1 : CHUNK;
        s->chunk = arena_alloc(arena, s->room);
        if (to_7bit)
            error = open_converted(s, flow, m, group, arena);
    }
    if (error) {
        *ret_why = why_not(s, error, arena);
        message_close(s);
        return error;
    }
    mail->has_size = s->convert == NULL;
    mail->size = spool_reader_size(s->reader) + s->prefix.len;
    if (to_7bit)
        mail->body = SMTP_BODY_7BIT;
    *ret = s;
    return 0;
}

int message_read(struct message_source *s, struct str *ret_chunk) {
    if (!s->convert)
        return next_raw(s, ret_chunk);
    if (!s->signatures.len)
        return next_converted(s, ret_chunk);
    *ret_chunk = s->signatures;
    s->signatures = STR("");
    return 0;
}

void message_close(struct message_source *s) {
    if (!s)
        return;
    s->reader = spool_reader_close(s->reader);
    s->convert = convert_free(s->convert);
    buf_free(&s->out);
}
