/* The envelope of a message as tagged fields: u16 tag, u32 length, bytes. Fields whose tag is below 0x8000
 * may be skipped by who doesn't know them. Empty fields aren't written. */
#include "base/cursor.h"
#include "seeded_bug.h"
#include "spool/format.h"

enum {
    TAG_TRACE_ID = 1,
    TAG_TENANT = 2,
    TAG_CONNECTOR = 3,
    TAG_SENDER = 4,
    TAG_RETURN_PATH = 5,
    TAG_MESSAGE_ID = 6,
    TAG_SUBJECT = 7,
    TAG_HELO = 8,
    TAG_CLIENT_IP = 9,
    TAG_ORIGINAL_CLIENT_IP = 10,
    TAG_VERDICT = 11,
    TAG_ENVID = 12,
    TAG_FLAGS = 13,
    TAG_ATTRIBUTE = 14,
    TAG_CLASS = 32,
    TAG_POOL = 33,
    TAG_RULE = 34,
    TAG_REASON = 35,
    TAG_REVERSE_PATH = 36,
    TAG_HEADER_PREFIX = 37,
    TAG_ADDRESS = 64,
    TAG_ORCPT = 65,
    TAG_VIA = 66,
    TAG_NOTIFY = 67,
    TAG_CRITICAL = 0x8000,
    TAG_GROUP = 0x8001,
    TAG_RECIPIENT = 0x8002,
};

static void put_field(struct buf *b, uint16_t tag, struct str value) {
    if (value.len == 0)
        return;
    buf_u16(b, tag);
    buf_u32(b, (uint32_t)value.len);
    buf_str(b, value);
}

static void put_ip(struct buf *b, uint16_t tag, const struct ip *ip) {
    if (!ip_is_none(ip))
        put_field(b, tag, str_from(ip->bytes, sizeof ip->bytes));
}

static void put_byte(struct buf *b, uint16_t tag, uint8_t value) {
    if (value)
        put_field(b, tag, str_from(&value, 1));
}

/* A field whose content follows; close_field sets its length. */
static size_t open_field(struct buf *b, uint16_t tag) {
    buf_u16(b, tag);
    buf_u32(b, 0);
    return b->len;
}

static void close_field(struct buf *b, size_t opened) {
    uint32_t len = (uint32_t)(b->len - opened);
    for (int i = 0; i < 4; i++)
        b->at[opened - 4 + (size_t)i] = (char)(len >> (8 * i));
}

static void put_attributes(struct buf *b, const struct spool_attribute *attributes, size_t count) {
    for (size_t i = 0; i < count; i++) {
        size_t field = open_field(b, TAG_ATTRIBUTE);
        buf_u16(b, (uint16_t)attributes[i].name.len);
        buf_add(b, attributes[i].name.at, (uint16_t)attributes[i].name.len);
        buf_str(b, attributes[i].value);
        close_field(b, field);
    }
}

static void put_recipient(struct buf *b, const struct spool_recipient *r) {
    size_t field = open_field(b, TAG_RECIPIENT);
    put_field(b, TAG_ADDRESS, r->address);
    put_field(b, TAG_ORCPT, r->orcpt);
    put_field(b, TAG_VIA, r->via);
    put_byte(b, TAG_NOTIFY, r->notify);
    put_attributes(b, r->attributes, r->attribute_count);
    close_field(b, field);
}

static void put_group(struct buf *b, const struct spool_group *g) {
    size_t field = open_field(b, TAG_GROUP);
    uint8_t mail_class = (uint8_t)g->mail_class;
    put_field(b, TAG_CLASS, str_from(&mail_class, 1));
    put_field(b, TAG_POOL, g->pool);
    put_field(b, TAG_RULE, g->rule);
    put_field(b, TAG_REASON, g->reason);
    put_field(b, TAG_REVERSE_PATH, g->reverse_path);
    put_field(b, TAG_HEADER_PREFIX, g->header_prefix);
    put_attributes(b, g->attributes, g->attribute_count);
    for (size_t i = 0; i < g->recipient_count; i++)
        put_recipient(b, &g->recipients[i]);
    close_field(b, field);
}

uint32_t message_recipients(const struct spool_message *m) {
    size_t count = 0;
    for (size_t i = 0; i < m->group_count; i++)
        count += m->groups[i].recipient_count;
    return (uint32_t)count;
}

void message_encode(struct buf *b, const struct spool_message *m, uint64_t body_size, uint32_t parts) {
    static const unsigned char no_part[MESSAGE_PART];
    buf_u64(b, 0);
    buf_u64(b, body_size);
    buf_u64(b, (uint64_t)m->arrival);
    buf_u32(b, message_recipients(m));
    buf_u32(b, parts);
    buf_u64(b, 0);
    for (uint32_t i = 0; i < parts; i++)
        buf_add(b, no_part, sizeof no_part);
    put_field(b, TAG_TRACE_ID, m->trace_id);
    put_field(b, TAG_TENANT, m->tenant);
    put_field(b, TAG_CONNECTOR, m->connector);
    put_field(b, TAG_SENDER, m->sender);
    put_field(b, TAG_RETURN_PATH, m->return_path);
    put_field(b, TAG_MESSAGE_ID, m->message_id);
    put_field(b, TAG_SUBJECT, m->subject);
    put_field(b, TAG_HELO, m->helo);
    put_ip(b, TAG_CLIENT_IP, &m->client_ip);
    put_ip(b, TAG_ORIGINAL_CLIENT_IP, &m->original_client_ip);
    put_field(b, TAG_VERDICT, m->verdict);
    put_field(b, TAG_ENVID, m->envid);
    uint8_t flags[4] = {m->flags, (uint8_t)m->ret, m->incoming, m->held};
#ifdef SLUICE_SEEDED_BUG_QUARANTINE_NOT_DURABLE
    flags[3] = 0;
#endif
    put_field(b, TAG_FLAGS, str_from(flags, sizeof flags));
    put_attributes(b, m->attributes, m->attribute_count);
    for (size_t i = 0; i < m->group_count; i++)
        put_group(b, &m->groups[i]);
}

/* Decoding walks each level twice: to count what repeats, then to fill. */

struct field {
    uint16_t tag;
    struct str value;
};

static bool next_field(struct cursor *c, struct field *ret) {
    if (c->left == 0 || !cursor_ok(c))
        return false;
    ret->tag = cursor_u16(c);
    ret->value = cursor_bytes(c, cursor_u32(c));
    return cursor_ok(c);
}

static size_t count_fields(struct str level, uint16_t tag) {
    struct cursor c = cursor_of(level);
    struct field f;
    size_t count = 0;
    while (next_field(&c, &f))
        count += f.tag == tag;
    return count;
}

static uint8_t byte_of(struct str value, size_t at) { return at < value.len ? (uint8_t)value.at[at] : 0; }

static void get_ip(struct cursor *c, struct str value, struct ip *ret) {
    if (value.len != sizeof ret->bytes)
        cursor_fail(c);
    else
        memcpy(ret->bytes, value.at, sizeof ret->bytes);
}

static void get_attribute(struct cursor *c, struct str value, struct spool_attribute *ret) {
    struct cursor v = cursor_of(value);
    ret->name = cursor_bytes(&v, cursor_u16(&v));
    ret->value = str_from(v.at, v.left);
    if (!cursor_ok(&v))
        cursor_fail(c);
}

static bool get_recipient(struct str level, struct arena *arena, struct spool_recipient *ret) {
    struct cursor c = cursor_of(level);
    struct field f;
    size_t attributes = count_fields(level, TAG_ATTRIBUTE);
    struct spool_attribute *list = arena_array(arena, struct spool_attribute, attributes);
    struct spool_recipient r = {.attributes = list};
    while (next_field(&c, &f)) {
        switch (f.tag) {
        case TAG_ADDRESS:
            r.address = f.value;
            break;
        case TAG_ORCPT:
            r.orcpt = f.value;
            break;
        case TAG_VIA:
            r.via = f.value;
            break;
        case TAG_NOTIFY:
            r.notify = byte_of(f.value, 0);
            break;
        case TAG_ATTRIBUTE:
            get_attribute(&c, f.value, &list[r.attribute_count++]);
            break;
        default:
            if (f.tag >= TAG_CRITICAL)
                cursor_fail(&c);
        }
    }
    *ret = r;
    return cursor_ok(&c);
}

static bool get_group(struct str level, struct arena *arena, struct spool_group *ret) {
    struct cursor c = cursor_of(level);
    struct field f;
    struct spool_attribute *attributes =
        arena_array(arena, struct spool_attribute, count_fields(level, TAG_ATTRIBUTE));
    struct spool_recipient *recipients =
        arena_array(arena, struct spool_recipient, count_fields(level, TAG_RECIPIENT));
    /* A group without a class has none: never the default one. */
    struct spool_group g = {
        .mail_class = (enum mail_class)MAIL_CLASS_COUNT, .attributes = attributes, .recipients = recipients};
    while (next_field(&c, &f)) {
        switch (f.tag) {
        case TAG_CLASS:
            g.mail_class = byte_of(f.value, 0);
            break;
        case TAG_POOL:
            g.pool = f.value;
            break;
        case TAG_RULE:
            g.rule = f.value;
            break;
        case TAG_REASON:
            g.reason = f.value;
            break;
        case TAG_REVERSE_PATH:
            g.reverse_path = f.value;
            break;
        case TAG_HEADER_PREFIX:
            g.header_prefix = f.value;
            break;
        case TAG_ATTRIBUTE:
            get_attribute(&c, f.value, &attributes[g.attribute_count++]);
            break;
        case TAG_RECIPIENT:
            if (!get_recipient(f.value, arena, &recipients[g.recipient_count++]))
                cursor_fail(&c);
            break;
        default:
            if (f.tag >= TAG_CRITICAL)
                cursor_fail(&c);
        }
    }
    *ret = g;
    return cursor_ok(&c) && g.recipient_count > 0 && mail_class_name(g.mail_class);
}

/* Plain views of the message: tag and where they go. */
static struct str *text_of(struct spool_message *m, uint16_t tag) {
    switch (tag) {
    case TAG_TRACE_ID:
        return &m->trace_id;
    case TAG_TENANT:
        return &m->tenant;
    case TAG_CONNECTOR:
        return &m->connector;
    case TAG_SENDER:
        return &m->sender;
    case TAG_RETURN_PATH:
        return &m->return_path;
    case TAG_MESSAGE_ID:
        return &m->message_id;
    case TAG_SUBJECT:
        return &m->subject;
    case TAG_HELO:
        return &m->helo;
    case TAG_VERDICT:
        return &m->verdict;
    case TAG_ENVID:
        return &m->envid;
    default:
        return NULL;
    }
}

static void get_flags(struct str value, struct spool_message *m) {
    uint8_t ret = byte_of(value, 1);
    m->flags = byte_of(value, 0);
    m->ret = ret <= SPOOL_RET_HDRS ? (enum spool_ret)ret : SPOOL_RET_NONE;
    m->incoming = byte_of(value, 2);
    m->held = byte_of(value, 3);
}

bool message_decode(struct str head, struct arena *arena, struct spool_message *ret) {
    struct message_prelude prelude;
    if (!message_prelude_decode(head, &prelude))
        return false;
    struct str fields = str_from_index(head, MESSAGE_PRELUDE + (size_t)MESSAGE_PART * prelude.parts);
    struct cursor c = cursor_of(fields);
    struct field f;
    struct spool_attribute *attributes =
        arena_array(arena, struct spool_attribute, count_fields(fields, TAG_ATTRIBUTE));
    struct spool_group *groups = arena_array(arena, struct spool_group, count_fields(fields, TAG_GROUP));
    struct spool_message m = {.arrival = prelude.arrival,
                              .body_size = prelude.body_size,
                              .attributes = attributes,
                              .groups = groups};
    while (next_field(&c, &f)) {
        struct str *text = text_of(&m, f.tag);
        if (text)
            *text = f.value;
        else if (f.tag == TAG_CLIENT_IP)
            get_ip(&c, f.value, &m.client_ip);
        else if (f.tag == TAG_ORIGINAL_CLIENT_IP)
            get_ip(&c, f.value, &m.original_client_ip);
        else if (f.tag == TAG_FLAGS)
            get_flags(f.value, &m);
        else if (f.tag == TAG_ATTRIBUTE)
            get_attribute(&c, f.value, &attributes[m.attribute_count++]);
        else if (f.tag == TAG_GROUP) {
            if (!get_group(f.value, arena, &groups[m.group_count++]))
                cursor_fail(&c);
        } else if (f.tag >= TAG_CRITICAL)
            cursor_fail(&c);
    }
    *ret = m;
    return cursor_ok(&c) && m.group_count > 0 && message_recipients(&m) == prelude.recipients;
}

struct str spool_attribute_get(const struct spool_attribute *attributes, size_t count, struct str name) {
    for (size_t i = 0; i < count; i++)
        if (str_eq(attributes[i].name, name))
            return attributes[i].value;
    return STR_NULL;
}

const struct spool_recipient *spool_recipient_at(const struct spool_message *m, uint32_t recipient,
                                                 uint32_t *ret_group) {
    size_t left = recipient;
    for (size_t i = 0; i < m->group_count; i++) {
        if (left < m->groups[i].recipient_count) {
            if (ret_group)
                *ret_group = (uint32_t)i;
            return &m->groups[i].recipients[left];
        }
        left -= m->groups[i].recipient_count;
    }
    return NULL;
}
