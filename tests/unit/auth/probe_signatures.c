/* probe_signatures - answers questions of check_signatures about DKIM and ARC. One command a line, words
 * parted by blanks, bytes in hex ("-" is none); each command is answered with one line. */
#include "auth/arc.h"
#include "auth/body_hash.h"
#include "auth/canon.h"
#include "auth/dkim_check.h"
#include "txt_resolver.h"

#include <stdio.h>
#include <stdlib.h>

enum { WORDS_MAX = 12, CHUNK = 7 };

static struct arena *all;
static struct txt_resolver dns = {.resolver = {txt_lookup}};
static int64_t now_s = 1600000000;

static void put_hex(struct str s) {
    for (size_t i = 0; i < s.len; i++)
        printf("%02x", (unsigned char)s.at[i]);
}

static int nibble(char c) { return c <= '9' ? c - '0' : c - 'a' + 10; }

static struct str from_hex(const char *word) {
    size_t count = strcmp(word, "-") == 0 ? 0 : strlen(word) / 2;
    char *bytes = arena_alloc(all, count + 1);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (char)(nibble(word[2 * i]) << 4 | nibble(word[2 * i + 1]));
    return str_from(bytes, count);
}

static const char *text_of(const char *word) { return str_c(all, from_hex(word)); }

static struct str body_of(struct str message, struct header *ret) {
    if (header_parse(all, message, 0, ret) != 0)
        abort();
    return str_from_index(message, ret->body_at);
}

static void hash_body(struct str body, uint8_t out[DKIM_DIGEST_SIZE]) {
    struct body_hash *hash = body_hash_new();
    for (; body.len; body = str_from_index(body, CHUNK))
        body_hash_feed(hash, str_head(body, CHUNK));
    body_hash_end(hash, out);
    body_hash_free(hash);
}

static void command_txt(char **word) { txt_add(&dns, text_of(word[1]), text_of(word[2])), printf("ok"); }
static void command_forget(char **word) { (void)word, dns.count = 0, printf("ok"); }
static void command_now(char **word) { now_s = strtoll(word[1], NULL, 10), printf("ok"); }

static void command_dkim(char **word) {
    struct header header;
    struct str body = body_of(from_hex(word[1]), &header);
    struct dkim_verify *verify = dkim_verify_new(all, &header, now_s);
    for (; body.len; body = str_from_index(body, CHUNK))
        dkim_verify_body(verify, str_head(body, CHUNK));
    struct dkim_verdicts verdicts = dkim_verify_end(verify, &dns.resolver, 0);
    for (size_t i = 0; i < verdicts.count; i++)
        printf("%s%s|%u|%.*s", i ? "\t" : "", dkim_result_name(verdicts.items[i].result),
               verdicts.items[i].key_bits, STR_FMT(verdicts.items[i].reason));
    dkim_verify_free(verify);
}

static struct arc_verdict judge_chain(struct header *header, struct str body) {
    struct arc_verify *verify = arc_verify_new(all, header);
    for (; body.len; body = str_from_index(body, CHUNK))
        arc_verify_body(verify, str_head(body, CHUNK));
    struct arc_verdict verdict = arc_verify_end(verify, &dns.resolver, 0);
    arc_verify_free(verify);
    return verdict;
}

static void command_arc(char **word) {
    struct header header;
    struct str body = body_of(from_hex(word[1]), &header);
    struct arc_verdict verdict = judge_chain(&header, body);
    printf("%s|%u|%.*s", arc_result_name(verdict.result), verdict.instances, STR_FMT(verdict.reason));
}

static struct dkim_key *key_of(const char *word) {
    struct dkim_key *key;
    struct str why;
    if (dkim_key_parse(from_hex(word), all, &why, &key) != 0)
        abort();
    return key;
}

/* seal MESSAGE KEY DOMAIN SELECTOR TIME AUTHSERV-ID [HEADER ...]: the fields in hex, "-" when there can be
 * none. */
static void command_seal(char **word) {
    struct header header;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct str body = body_of(from_hex(word[1]), &header), names = from_hex(word[7]), name;
    struct arc_verdict verdict = judge_chain(&header, body);
    struct dkim_key *key = key_of(word[2]);
    const char *headers[32] = {0};
    for (size_t i = 0; i < 31 && names.len && str_cut(&names, ':', &name); i++)
        headers[i] = str_c(all, name);
    struct arc_seal_settings settings = {.signer = {key, from_hex(word[3]), from_hex(word[4])},
                                         .results = arc_results_of(all, &header, from_hex(word[6])),
                                         .now_s = strtoll(word[5], NULL, 10),
                                         .headers = headers[0] ? headers : NULL,
                                         .only_headers = headers[0]};
    uint8_t digest[DKIM_DIGEST_SIZE];
    hash_body(body, digest);
    struct arc_seal *seal = arc_seal_new(&header, digest, &verdict, &settings);
    if (seal && arc_seal_run(seal) == 0)
        arc_seal_write(seal, &out);
    out.len ? put_hex(buf_view(&out)) : (void)printf("-");
    arc_seal_free(seal);
    dkim_key_free(key);
}

/* sign MESSAGE KEY KEY2 DOMAIN SELECTOR SELECTOR2: the fields in hex. */
static void command_sign(char **word) {
    struct header header;
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    struct str body = body_of(from_hex(word[1]), &header);
    struct dkim_key *keys[] = {key_of(word[2]), key_of(word[3])};
    struct dkim_signer signers[] = {{keys[0], from_hex(word[4]), from_hex(word[5]), STR_NULL},
                                    {keys[1], from_hex(word[4]), from_hex(word[6]), STR_NULL}};
    struct dkim_sign_settings settings = {.signers = signers, .signer_count = 2, .now_s = now_s};
    uint8_t digest[DKIM_DIGEST_SIZE];
    hash_body(body, digest);
    struct dkim_sign *sign = dkim_sign_new(&header, digest, &settings);
    if (dkim_sign_run(sign) != 0)
        abort();
    dkim_sign_write(sign, &out);
    put_hex(buf_view(&out));
    dkim_sign_free(sign);
    dkim_key_free(keys[0]);
    dkim_key_free(keys[1]);
}

/* keygen rsa|ed25519 BITS: a new private key in PEM, and the TXT record that publishes it. */
static void command_keygen(char **word) {
    struct buf pem __attribute__((cleanup(buf_free))) = {0}, record __attribute__((cleanup(buf_free))) = {0};
    struct dkim_key *key;
    enum dkim_algorithm algorithm = strcmp(word[1], "rsa") == 0 ? DKIM_RSA : DKIM_ED25519;
    if (dkim_key_new(algorithm, (unsigned)strtoul(word[2], NULL, 10), &key) != 0)
        abort();
    if (dkim_key_pem(key, &pem) != 0 || dkim_key_record(key, &record) != 0)
        abort();
    put_hex(buf_view(&pem));
    printf(" ");
    put_hex(buf_view(&record));
    dkim_key_free(key);
}

static void add(void *to, struct str bytes) { buf_str(to, bytes); }

/* canon body|header simple|relaxed BYTES */
static void command_canon(char **word) {
    struct buf out __attribute__((cleanup(buf_free))) = {0};
    enum canon mode = strcmp(word[2], "relaxed") == 0 ? CANON_RELAXED : CANON_SIMPLE;
    struct str in = from_hex(word[3]);
    if (strcmp(word[1], "body") == 0) {
        struct canon_body body = {.mode = mode, .sink = add, .to = &out};
        canon_body_feed(&body, in);
        canon_body_end(&body);
    } else {
        struct header header;
        body_of(in, &header);
        for (size_t i = 0; i < header.count; i++)
            canon_field(&out, mode, &header.fields[i]);
    }
    put_hex(buf_view(&out));
}

static void command_bodyhash(char **word) {
    struct dkim_body_hash hash;
    dkim_body_hash_start(&hash, strcmp(word[1], "relaxed") == 0 ? CANON_RELAXED : CANON_SIMPLE);
    dkim_body_hash_feed(&hash, from_hex(word[2]));
    dkim_body_hash_end(&hash);
    dkim_body_hash_free(&hash);
    struct str text = dkim_base64_write(all, str_from(hash.digest, DKIM_DIGEST_SIZE));
    printf("%.*s", STR_FMT(text));
}

static void command_record(char **word) {
    struct dkim_record record;
    struct str why;
    if (dkim_record_parse(all, from_hex(word[1]), &why, &record) != 0) {
        printf("invalid|%.*s", STR_FMT(why));
        return;
    }
    printf("valid|%u %s%s%s", record.bits, record.revoked ? "revoked " : "", record.email ? "email " : "",
           record.testing ? "testing" : "");
    dkim_record_free(&record);
}

static void command_signature(char **word) {
    struct header header;
    struct dkim_signature signature;
    struct str why = STR_NULL;
    body_of(from_hex(word[1]), &header);
    if (header.count == 0)
        printf("invalid|no field");
    else
        printf("%s|%.*s",
               dkim_signature_parse(all, DKIM_MESSAGE, &header.fields[0], &signature, &why) == DKIM_PASS
                   ? "valid"
                   : "invalid",
               STR_FMT(why));
}

static const struct {
    const char *name;
    int words;
    void (*run)(char **word);
} commands[] = {
    {"txt", 3, command_txt},           {"forget", 1, command_forget}, {"now", 2, command_now},
    {"dkim", 2, command_dkim},         {"arc", 2, command_arc},       {"seal", 8, command_seal},
    {"sign", 7, command_sign},         {"keygen", 3, command_keygen}, {"canon", 4, command_canon},
    {"bodyhash", 3, command_bodyhash}, {"record", 2, command_record}, {"signature", 2, command_signature},
};

static void run(char *line) {
    char *words[WORDS_MAX + 1] = {0};
    int count = 0;
    for (char *rest = line, *word; count < WORDS_MAX && (word = strsep(&rest, " \n"));)
        if (*word)
            words[count++] = word;
    for (size_t i = 0; i < sizeof commands / sizeof *commands; i++)
        if (count == commands[i].words && strcmp(words[0], commands[i].name) == 0) {
            commands[i].run(words);
            printf("\n");
            return;
        }
    fprintf(stderr, "unknown: %s\n", count ? words[0] : "");
    exit(2);
}

int main(void) {
    char *line = NULL;
    size_t cap = 0;
    all = arena_new(0);
    while (getline(&line, &cap, stdin) >= 0)
        run(line);
    free(line);
    arena_free(all);
    return 0;
}
