#include "rt/proxy.h"

#include "base/crc32c.h"
#include "base/cursor.h"

enum { SIGNATURE_LEN = 12, FIXED_LEN = 16 }; /* of version 2 */
enum { COMMAND_LOCAL = 0x20, COMMAND_PROXY = 0x21 };
enum { FAMILY_NONE = 0, FAMILY_INET = 1, FAMILY_INET6 = 2, FAMILY_UNIX = 3 };
enum { TRANSPORT_NONE = 0, TRANSPORT_STREAM = 1, TRANSPORT_DATAGRAM = 2 };
enum { UNIX_ADDRESSES_LEN = 216, TLV_CRC32C = 0x03, CRC_LEN = 4 };

static const char signature[] = "\r\n\r\n\0\r\nQUIT\n";

static enum proxy_result bad(struct proxy_header *h, const char *why) {
    h->why = why;
    return PROXY_BAD;
}

/* The all-zero address would be nobody, or the local socket's. */
static bool unspecified(const struct ip *ip) {
    struct ip any;
    return ip_is_none(ip) || (ip_parse(STR("0.0.0.0"), &any) && ip_eq(ip, &any));
}

/* ---- version 1: a line ---- */

static bool line_port(struct str text, uint16_t *ret) {
    uint64_t port;
    if (!str_to_u64(text, &port) || port > 65535 || (text.len > 1 && text.at[0] == '0'))
        return false;
    *ret = (uint16_t)port;
    return true;
}

static bool line_address(struct str text, bool v6, struct ip *ret) {
    return (str_index(text, ':') >= 0) == v6 && ip_parse(text, ret);
}

static enum proxy_result line_parse(struct str line, struct proxy_header *h) {
    struct str protocol, parts[4], rest = str_from_index(line, sizeof "PROXY " - 1);
    if (!str_cut(&rest, ' ', &protocol))
        return bad(h, "the line has no protocol");
    if (str_eq(protocol, STR("UNKNOWN"))) {
        h->own = true;
        return PROXY_DONE;
    }
    bool v6 = str_eq(protocol, STR("TCP6"));
    if (!v6 && !str_eq(protocol, STR("TCP4")))
        return bad(h, "the protocol is not TCP4, TCP6 or UNKNOWN");
    for (int i = 0; i < 4; i++)
        if (!str_cut(&rest, ' ', &parts[i]))
            return bad(h, "the line lacks an address or a port");
    if (rest.at)
        return bad(h, "the line goes on after the ports");
    if (!line_address(parts[0], v6, &h->source) || !line_address(parts[1], v6, &h->destination))
        return bad(h, "an address can't be read");
    if (!line_port(parts[2], &h->source_port) || !line_port(parts[3], &h->destination_port))
        return bad(h, "a port can't be read");
    return unspecified(&h->source) ? bad(h, "the client's address is unspecified") : PROXY_DONE;
}

static enum proxy_result line_find(struct str bytes, struct proxy_header *h) {
    ptrdiff_t lf = str_index(str_head(bytes, PROXY_LINE_MAX), '\n');
    h->version = 1;
    if (lf < 0)
        return bytes.len < PROXY_LINE_MAX ? PROXY_MORE : bad(h, "the line doesn't end");
    if (bytes.at[lf - 1] != '\r')
        return bad(h, "the line doesn't end with CRLF");
    h->len = (size_t)lf + 1;
    return line_parse(str_head(bytes, (size_t)lf - 1), h);
}

/* ---- version 2: packed ---- */

/* IPv4 in the mapped form of struct ip. */
static struct ip packed_address(struct cursor *c, unsigned family) {
    struct ip ip = {0};
    struct str bytes = cursor_bytes(c, family == FAMILY_INET ? 4 : 16);
    if (family == FAMILY_INET)
        ip.bytes[10] = ip.bytes[11] = 0xff;
    if (bytes.len)
        memcpy(ip.bytes + sizeof ip.bytes - bytes.len, bytes.at, bytes.len);
    return ip;
}

/* The checksum is of the whole header, with zeros in its own place. */
static bool checksum_fits(struct str header, struct str value) {
    size_t at = (size_t)(value.at - header.at);
    struct cursor c = cursor_of(value);
    uint32_t crc = crc32c(0, header.at, at);
    crc = crc32c(crc, "\0\0\0", CRC_LEN);
    crc = crc32c(crc, value.at + CRC_LEN, header.len - at - CRC_LEN);
    return crc == cursor_be32(&c);
}

static enum proxy_result extensions(struct cursor *c, struct str header, struct proxy_header *h) {
    bool summed = false;
    while (c->left) {
        uint8_t type = cursor_u8(c);
        struct str value = cursor_bytes(c, cursor_be16(c));
        if (!cursor_ok(c))
            return bad(h, "an extension goes past the end");
        if (type != TLV_CRC32C)
            continue;
        if (summed || value.len != CRC_LEN)
            return bad(h, "the checksum is not four bytes, once");
        if (!checksum_fits(header, value))
            return bad(h, "the checksum is wrong");
        summed = true;
    }
    return PROXY_DONE;
}

static const char *unfit(uint8_t command, uint8_t family, uint8_t transport) {
    if (command != COMMAND_LOCAL && command != COMMAND_PROXY)
        return "the version or the command is unknown";
    if (command == COMMAND_LOCAL)
        return NULL; /* the rest is not looked at */
    if (family > FAMILY_UNIX || transport > TRANSPORT_DATAGRAM || (!family != !transport))
        return "the address family is unknown";
    return transport == TRANSPORT_DATAGRAM ? "the client didn't come by TCP" : NULL;
}

static enum proxy_result packed_addresses(struct cursor *c, unsigned family, struct proxy_header *h) {
    h->own = family == FAMILY_NONE || family == FAMILY_UNIX;
    if (family == FAMILY_UNIX)
        cursor_bytes(c, UNIX_ADDRESSES_LEN);
    if (!h->own) {
        h->source = packed_address(c, family);
        h->destination = packed_address(c, family);
        h->source_port = cursor_be16(c);
        h->destination_port = cursor_be16(c);
    }
    if (!cursor_ok(c))
        return bad(h, "the header is too short for its addresses");
    return !h->own && unspecified(&h->source) ? bad(h, "the client's address is unspecified") : PROXY_DONE;
}

static enum proxy_result packed_parse(struct str bytes, struct proxy_header *h) {
    struct cursor c = cursor_of(str_from_index(bytes, SIGNATURE_LEN));
    h->version = 2;
    /* What came is judged before the rest is waited for. */
    uint8_t command = c.left ? cursor_u8(&c) : COMMAND_LOCAL, both = c.left ? cursor_u8(&c) : 0;
    h->why = unfit(command, both >> 4, both & 15);
    if (h->why)
        return PROXY_BAD;
    if (bytes.len < FIXED_LEN)
        return PROXY_MORE;
    size_t len = FIXED_LEN + (size_t)cursor_be16(&c);
    if (len > PROXY_HEADER_MAX)
        return bad(h, "the header is longer than 16 KB");
    if (bytes.len < len)
        return PROXY_MORE;
    h->len = len;
    if (command == COMMAND_LOCAL) {
        h->own = true;
        return PROXY_DONE;
    }
    struct str header = str_head(bytes, len);
    c = cursor_of(str_from_index(header, FIXED_LEN));
    enum proxy_result result = packed_addresses(&c, both >> 4, h);
    return result == PROXY_DONE ? extensions(&c, header, h) : result;
}

/* ---- either ---- */

enum proxy_result proxy_header_parse(struct str bytes, struct proxy_header *ret) {
    const struct str line = STR("PROXY "), packed = {signature, SIGNATURE_LEN};
    *ret = (struct proxy_header){0};
    if (str_starts(bytes, line))
        return line_find(bytes, ret);
    if (str_starts(bytes, packed))
        return packed_parse(bytes, ret);
    if (str_starts(line, bytes) || str_starts(packed, bytes))
        return PROXY_MORE;
    return bad(ret, "it doesn't begin with a PROXY header");
}

int proxy_read(struct stream *stream, int64_t deadline, const char **ret_why) {
    struct proxy_header header;
    enum proxy_result result;
    while ((result = proxy_header_parse(stream_input(stream), &header)) == PROXY_MORE) {
        int error = stream_fill(stream, deadline);
        if (error) {
            *ret_why = error_text(error);
            return error;
        }
    }
    if (result == PROXY_BAD) {
        *ret_why = header.why;
        return SLUICE_ESYNTAX;
    }
    if (!header.own)
        stream_set_peer(stream, &header.source, header.source_port);
    stream_consume(stream, header.len);
    stream_unread(stream);
    return 0;
}
