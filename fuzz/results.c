/* Any bytes as a header, and as everything that a sender can put into our results: our field stays one field
 * that is ours and nobody else's, each text one short line; every field is found ours or not, in our name
 * whenever a strict reader would say so. */
#include "auth/results.h"
#include "auth/align.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static void must(bool holds) {
    if (!holds)
        abort();
}

/* The octets up to the next NUL. */
static struct str next(struct str *rest) {
    struct str part = STR("");
    (void)str_cut(rest, '\0', &part);
    return part;
}

static void line(struct str text) {
    must(text.at && text.len <= RESULTS_TEXT_MAX);
    for (size_t i = 0; i < text.len; i++)
        must(text.at[i] >= ' ' && text.at[i] <= '~');
}

/* A semicolon outside of quotes and comments begins a result: there is one for each that we wrote. */
static size_t results_in(struct str value) {
    size_t count = 0, depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < value.len; i++) {
        char c = value.at[i];
        if (c == '\\' && (quoted || depth))
            i++;
        else if (c == '"' && !depth)
            quoted = !quoted;
        else if (c == '(' && !quoted)
            depth++;
        else if (c == ')' && !quoted && depth)
            depth--;
        else if (c == ';' && !quoted && !depth)
            count++;
    }
    must(!quoted && !depth);
    return count;
}

static void write_results(struct arena *arena, struct str input) {
    struct str rest = input;
    struct dkim_verdict items[2] = {0};
    struct arrival_client client = {.helo = next(&rest), .reverse_path = next(&rest)};
    struct arrival_result result = {.checked = true, .dkim = {items, 2, input.len % 2}};
    result.spf = (struct spf_check){.result = (enum spf_result)(input.len % 7),
                                    .identity = input.len % 3 ? SPF_MAIL_FROM : SPF_HELO,
                                    .domain = next(&rest),
                                    .reason = next(&rest)};
    for (size_t i = 0; i < 2; i++)
        items[i] = (struct dkim_verdict){.result = (enum dkim_result)((input.len + i) % 6),
                                         .reason = next(&rest),
                                         .domain = next(&rest),
                                         .selector = next(&rest),
                                         .identity = next(&rest),
                                         .algorithm = next(&rest),
                                         .b = next(&rest),
                                         .testing = i};
    result.arc = (struct arc_verdict){.result = ARC_FAIL, .reason = next(&rest), .domain = next(&rest)};
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct header header;
    results_write(&out, STR("mx.ours.test"), &client, &result);
    must(header_parse(arena, buf_view(&out), 0, &header) == 0 && header.count == 1 &&
         header.whole.len == out.len);
    must(results_claims(arena, &header.fields[0], STR("MX.ours.test")));
    must(!results_claims(arena, &header.fields[0], STR("mx.other.test")));
    struct str value = results_value(arena, STR("mx.ours.test"), &client, &result);
    must(results_in(value) == 4 + input.len % 2);
    must(results_in(header_unfold(arena, header.fields[0].value)) == 4 + input.len % 2);
    line(results_spf_text(arena, &result));
    line(results_dkim_text(arena, &result));
    line(results_arc_text(arena, &result));
    (void)arrival_aligned_dkim(&result, client.helo);
    (void)arrival_unverified(&result, client.reverse_path, arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    struct arena *arena = arena_new(0);
    struct str input = str_from(bytes, len);
    struct header header;
    if (header_parse(arena, input, 0, &header) == 0)
        for (size_t i = 0; i < header.count; i++) {
            const struct header_field *field = &header.fields[i];
            bool ours = str_eq_nocase(field->name, STR("Authentication-Results")) &&
                        str_starts_nocase(str_trim(field->value), STR("mx.ours.test;"));
            bool claims = results_claims(arena, field, STR("mx.ours.test"));
            must(!ours || claims);
        }
    write_results(arena, input);
    arena_free(arena);
    return 0;
}
