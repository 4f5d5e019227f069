/* Any answers of a DNS list, in any order. The input is a row of answers: status and number of records, four
 * bytes of each, then length and bytes of the list's words. Nothing but a plain listing lists an address,
 * nothing but a plain "no" delists it, and what is kept of the words can be written down. */
#include "identity/blocklist.h"
#include "identity/watch_memory.h"
#include "must.h"

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len);

static const struct blocklist_code codes[] = {
    {{"127.0.0.2", 9}, {"127.0.0.3", 9}, BLOCKLIST_LISTS, {"spam", 4}},
    {{"127.0.0.99", 10}, {"127.0.0.99", 10}, BLOCKLIST_REFUSES, {"over the quota", 14}},
    {{"127.0.0.10", 10}, {"127.0.0.11", 10}, BLOCKLIST_NOTHING, {"", 0}},
};
static const struct blocklist lists[] = {
    {.name = {"A", 1}, .zone = {"a.test", 6}, .v4 = true, .codes = codes, .code_count = 3, .own = true},
    {.name = {"B", 1}, .zone = {"b.test", 6}, .v4 = true, .v6 = true, .own = true},
};
enum { LISTS = 2, ADDRESSES = 3, ROUND_MS = 1000 };

static uint8_t take(struct str *input) {
    uint8_t byte = input->len ? (uint8_t)input->at[0] : 0;
    *input = str_from_index(*input, input->len ? 1 : 0);
    return byte;
}

static struct str take_text(struct str *input) {
    struct str text = str_head(*input, take(input));
    text = str_head(*input, text.len);
    *input = str_from_index(*input, text.len);
    return text;
}

static struct dns_answer take_answer(struct str *input, struct arena *arena) {
    uint8_t head = take(input);
    struct dns_answer answer = {.status = (enum dns_status)(head % 3), .stale = head >= 0xf0};
    if (answer.status != DNS_RECORDS)
        return answer;
    answer.count = 1 + head / 3 % 4;
    answer.records = arena_array(arena, struct dns_record, answer.count);
    for (size_t i = 0; i < answer.count; i++) {
        unsigned a = take(input), b = take(input), c = take(input), d = take(input);
        must(ip_parse(str_printf(arena, "%u.%u.%u.%u", a ? a : 127, b, c, d), &answer.records[i].ip));
    }
    return answer;
}

/* The words of every listing, as the watch writes them before a restart. */
static void check_entries(const struct blocklist_watch *w, const struct ip *addresses, int64_t now,
                          struct arena *arena) {
    struct watch_note notes[LISTS * ADDRESSES];
    const struct watch_note *again;
    struct buf text = {0};
    struct str why;
    size_t count = 0, same;
    for (size_t l = 0; l < LISTS; l++)
        for (size_t a = 0; a < ADDRESSES; a++) {
            struct blocklist_entry e = blocklist_entry(w, l, a, now);
            must(e.text.len <= BLOCKLIST_TEXT_MAX && (!e.listed || e.since));
            for (size_t i = 0; i < e.text.len; i++)
                must(e.text.at[i] >= ' ' && e.text.at[i] < 127);
            if (e.listed)
                notes[count++] = (struct watch_note){.ip = addresses[a],
                                                     .zone = lists[l].zone,
                                                     .since = e.since,
                                                     .answered = e.answered,
                                                     .text = str_copy(arena, e.text)};
        }
    watch_memory_write(&text, notes, count);
    must(watch_memory_parse(arena, buf_view(&text), &why, &again, &same) == 0 && same == count);
    buf_free(&text);
}

static void ask(struct blocklist_watch *w, struct str *input, int64_t *now, struct arena *arena) {
    struct blocklist_question q;
    int64_t when;
    if (!blocklist_next(w, *now, &q, &when)) {
        *now = when > *now ? when : *now + 1;
        return;
    }
    must(q.list < LISTS && (q.step != BLOCKLIST_ASK || q.address < ADDRESSES));
    must(blocklist_question_name(w, &q, arena).len > lists[q.list].zone.len);
    struct dns_answer answer = take_answer(input, arena);
    struct blocklist_reading reading;
    blocklist_read(&lists[q.list], &answer, &reading);
    enum blocklist_change change = blocklist_answer(w, &q, &answer, *now);
    must(change != BLOCKLIST_NOW_LISTED || (q.step == BLOCKLIST_ASK && reading.state == BLOCKLIST_LISTED));
    must(change != BLOCKLIST_NOW_DELISTED || (q.step == BLOCKLIST_ASK && reading.state == BLOCKLIST_CLEAR));
    if (change == BLOCKLIST_NOW_LISTED)
        blocklist_explain(w, &q, take_text(input));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t len) {
    const struct blocklist_pace pace = {.round_ms = ROUND_MS, .gap_ms = 10};
    struct arena *arena = arena_new(0);
    struct str input = str_from(bytes, len);
    struct ip addresses[ADDRESSES];
    int64_t now = 1000;
    must(ip_parse(STR("192.0.2.1"), &addresses[0]) && ip_parse(STR("10.0.0.1"), &addresses[1]) &&
         ip_parse(STR("2001:db8::1"), &addresses[2]));
    struct blocklist_watch *w =
        blocklist_watch_new(lists, LISTS, addresses, ADDRESSES, &pace, len, now, NULL);
    for (unsigned i = 0; input.len && i < 2000; i++)
        ask(w, &input, &now, arena);
    check_entries(w, addresses, now, arena);
    struct blocklist_watch *next =
        blocklist_watch_new(lists, LISTS, addresses, ADDRESSES, &pace, len + 1, now, w);
    for (size_t l = 0; l < LISTS; l++)
        for (size_t a = 0; a < ADDRESSES; a++)
            must(blocklist_entry(w, l, a, now).listed == blocklist_entry(next, l, a, now).listed);
    blocklist_watch_free(w);
    blocklist_watch_free(next);
    arena_free(arena);
    return 0;
}
