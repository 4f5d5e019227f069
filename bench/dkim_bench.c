/* dkim_bench [ROUNDS [SECONDS]] - signatures a second of one core: the whole way of a message (hash 10 KB of
 * body, canonicalise its header, sign, write the field) beside OpenSSL's bare EVP_DigestSign with the same
 * key.
 *
 * Both take turns in slices of a few milliseconds, in processor time of this thread, so that the machine's
 * wandering speed hits both alike; only the ratio means something. Exit 1 when the median ratio is below the
 * goal. */
#include "auth/body_hash.h"
#include "auth/dkim.h"
#include "base/error.h"

#include <openssl/evp.h>
#include <openssl/pem.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

enum { BODY = 10240, SLICE = 16, ROUNDS_MAX = 100, GOAL_PERCENT = 85 };

static const char header_text[] =
    "Received: from desk.contoso.com (desk.contoso.com [10.1.2.3])\r\n"
    "\tby mail.contoso.com with ESMTPSA id 4F2A1; Sun, 22 Nov 2026 01:02:03 +0000\r\n"
    "Message-ID: <01JD8N0000000000000000000A@mail.contoso.com>\r\n"
    "Date: Sun, 22 Nov 2026 01:02:03 +0000\r\n"
    "MIME-Version: 1.0\r\n"
    "User-Agent: A Mail Program 1.2\r\n"
    "Subject: The figures of the third quarter, with the   changes of yesterday\r\n"
    "Content-Language: en-GB\r\n"
    "To: Bob Example <bob@fabrikam.com>, \"Carol, Accounts\" <carol@fabrikam.com>\r\n"
    "Cc: Dan <dan@tailspin.com>\r\n"
    "From: Alice Example <alice@contoso.com>\r\n"
    "Reply-To: Alice Example <alice@contoso.com>\r\n"
    "References: <1@fabrikam.com> <2@contoso.com>\r\n"
    "In-Reply-To: <2@contoso.com>\r\n"
    "Content-Type: text/plain; charset=UTF-8\r\n"
    "Content-Transfer-Encoding: 8bit\r\n"
    "\r\n";

struct bench {
    struct arena *arena;
    struct header header;
    struct str body;
    struct dkim_key *key;
    EVP_PKEY *pkey; /* the same key */
};

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "dkim_bench: %s\n", what);
    exit(2);
}

static void sign_with_openssl(struct bench *b) {
    static const unsigned char digest[DKIM_DIGEST_SIZE] = {1};
    unsigned char out[DKIM_SIGNATURE_SIZE];
    size_t len = sizeof out;
    EVP_MD_CTX *context = EVP_MD_CTX_new();
    const EVP_MD *md = EVP_PKEY_get_base_id(b->pkey) == EVP_PKEY_RSA ? EVP_sha256() : NULL;
    if (!context || EVP_DigestSignInit(context, NULL, md, NULL, b->pkey) <= 0 ||
        EVP_DigestSign(context, out, &len, digest, sizeof digest) <= 0)
        fail("OpenSSL does not sign");
    EVP_MD_CTX_free(context);
}

static void sign_with_sluice(struct bench *b) {
    const struct dkim_signer signer = {
        .key = b->key, .domain = STR("contoso.com"), .selector = STR("s1"), .identity = STR("")};
    const struct dkim_sign_settings settings = {.signers = &signer, .signer_count = 1, .now_s = 1795309323};
    uint8_t digest[DKIM_DIGEST_SIZE];
    struct buf out = {0};
    struct body_hash *hash = body_hash_new();
    body_hash_feed(hash, b->body);
    body_hash_end(hash, digest);
    body_hash_free(hash);
    struct dkim_sign *sign = dkim_sign_new(&b->header, digest, &settings);
    if (dkim_sign_run(sign) != 0)
        fail("Sluice does not sign");
    dkim_sign_write(sign, &out);
    dkim_sign_free(sign);
    buf_free(&out);
}

static double cpu_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double slice(struct bench *b, void (*sign)(struct bench *)) {
    double began = cpu_seconds();
    for (int i = 0; i < SLICE; i++)
        sign(b);
    return cpu_seconds() - began;
}

/* Signatures a second of each; they take turns. */
static void round_of(struct bench *b, double seconds, double *ret_openssl, double *ret_sluice) {
    double openssl = 0, sluice = 0;
    long count = 0;
    for (; openssl + sluice < seconds; count += SLICE) {
        openssl += slice(b, sign_with_openssl);
        sluice += slice(b, sign_with_sluice);
    }
    *ret_openssl = (double)count / openssl;
    *ret_sluice = (double)count / sluice;
}

static int by_size(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* The median of the ratios, in percent. */
static double measure(struct bench *b, const char *name, int rounds, double seconds) {
    double ratios[ROUNDS_MAX], openssl, sluice;
    for (int i = 0; i < rounds; i++) {
        round_of(b, seconds, &openssl, &sluice);
        ratios[i] = 100 * sluice / openssl;
        printf("%-9s round %d: OpenSSL %9.1f/s  Sluice %9.1f/s  %5.1f %%\n", name, i + 1, openssl, sluice,
               ratios[i]);
    }
    qsort(ratios, (size_t)rounds, sizeof ratios[0], by_size);
    printf("%-9s median %.1f %%, noise %.1f %%\n", name, ratios[rounds / 2], ratios[rounds - 1] - ratios[0]);
    return ratios[rounds / 2];
}

static void use_key(struct bench *b, enum dkim_algorithm algorithm, unsigned bits) {
    struct buf pem = {0};
    dkim_key_free(b->key);
    EVP_PKEY_free(b->pkey);
    if (dkim_key_new(algorithm, bits, &b->key) != 0 || dkim_key_pem(b->key, &pem) != 0)
        fail("no key");
    BIO *bio = BIO_new_mem_buf(pem.at, (int)pem.len);
    b->pkey = PEM_read_bio_PrivateKey(bio, NULL, NULL, NULL);
    BIO_free(bio);
    buf_free(&pem);
    if (!b->pkey)
        fail("the key can't be read");
}

static void make_message(struct bench *b) {
    struct buf body = {0};
    b->arena = arena_new(0);
    if (header_parse(b->arena, STR(header_text), 0, &b->header) != 0)
        fail("the header can't be read");
    for (int i = 0; body.len < BODY; i++)
        buf_printf(&body, "%sthe figures of line %d, and what we think of them until next week.\r\n%s",
                   i % 8 == 7 ? "    " : "", i, i % 5 == 4 ? "\r\n" : "");
    body.len = BODY;
    b->body = str_copy(b->arena, buf_view(&body));
    buf_free(&body);
}

int main(int argc, char **argv) {
    int rounds = argc > 1 ? atoi(argv[1]) : 5;
    double seconds = argc > 2 ? atof(argv[2]) : 4;
    struct bench b = {0};
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(sched_getcpu(), &one);
    sched_setaffinity(0, sizeof one, &one);
    if (rounds < 1 || rounds > ROUNDS_MAX || seconds <= 0)
        fail("usage: dkim_bench [ROUNDS [SECONDS]]");
    make_message(&b);
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("one core, %d bytes of body, processor time\n", BODY);
    use_key(&b, DKIM_RSA, 2048);
    double goal = measure(&b, "RSA-2048", rounds, seconds);
    use_key(&b, DKIM_ED25519, 0);
    measure(&b, "Ed25519", rounds, seconds / 4);
    printf("goal: at least %d %% with RSA-2048: %s\n", GOAL_PERCENT, goal >= GOAL_PERCENT ? "met" : "missed");
    dkim_key_free(b.key);
    EVP_PKEY_free(b.pkey);
    arena_free(b.arena);
    return goal >= GOAL_PERCENT ? 0 : 1;
}
