/* From one key to the next: publish, wait, switch, wait, remove. */
#include "base/clock.h"
#include "base/error.h"
#include "cmd/dkim.h"
#include "mail/address.h"
#include <jansson.h>
#include <sys/stat.h>
#include <unistd.h>

enum { AFTER_MAX_DAYS = 365 };

struct rotating {
    struct cli *cli;
    struct settings *settings;
    const struct signing_domain *domain;
    int64_t now;
    int folder;
    struct rotation rotation; /* on record, if any */
    bool recorded;
};

static struct str times(struct rotating *r, int64_t wall_ms) {
    return dkim_time_text(r->cli->arena, wall_ms);
}

static int refuse(struct rotating *r, const char *format, ...) __attribute__((format(printf, 2, 3)));
static int refuse(struct rotating *r, const char *format, ...) {
    va_list args;
    va_start(args, format);
    fprintf(r->cli->err, "sluice: %.*s: ", STR_FMT(r->domain->domain));
    vfprintf(r->cli->err, format, args);
    fputc('\n', r->cli->err);
    va_end(args);
    return CLI_NO;
}

/* Does the running daemon know what was just written? One that does not run will read it at its start. */
static bool tell_daemon(struct rotating *r) {
    struct api_reply reply = {0};
    int bad = cli_ask(r->cli, "POST", STR("/v1/reload"), STR_NULL, true, &reply);
    if (bad == CLI_UNREACHABLE)
        fprintf(r->cli->err, "sluice: no daemon answers: one that runs needs a `sluice reload`\n");
    else if (bad)
        refuse(r, "the daemon did not take it (see above); when that is put right: sluice reload");
    return !bad || bad == CLI_UNREACHABLE;
}

/* With --json the output is for programs. */
static FILE *notes(const struct rotating *r) { return r->cli->json ? r->cli->err : r->cli->out; }

static bool same_set(const struct rotating *r, const struct rotation_keys *keys) {
    const struct signing_set *configured = &r->domain->configured;
    bool same = keys->count == configured->count;
    for (size_t i = 0; same && i < keys->count; i++) {
        struct str path = keys->keys[i].key;
        struct str file = str_starts(path, STR("/"))
                              ? path
                              : str_printf(r->cli->arena, "%s/%.*s", r->settings->state, STR_FMT(path));
        same = str_eq(keys->keys[i].selector, configured->keys[i].selector) &&
               str_eq(file, str_of(configured->keys[i].file));
    }
    return same;
}

static bool in_configuration(const struct rotating *r, const char *file) {
    const struct policy *p = r->settings->policy;
    for (size_t i = 0; i < p->tenant_count; i++)
        for (size_t k = 0; k < p->tenants[i].signing_count; k++)
            for (size_t n = 0; n < p->tenants[i].signing[k].configured.count; n++)
                if (strcmp(p->tenants[i].signing[k].configured.keys[n].file, file) == 0)
                    return true;
    return false;
}

/* Removes key files that we made: others are the administrator's. */
static void remove_files(struct rotating *r, const struct rotation_keys *keys) {
    for (size_t i = 0; i < keys->count; i++) {
        struct arena *arena = r->cli->arena;
        const char *name = dkim_key_name(arena, r->domain->domain, keys->keys[i].selector);
        const char *file = str_printf(arena, "%s/keys/%s", r->settings->state, name).at;
        bool ours = str_eq(keys->keys[i].key, str_printf(arena, "keys/%s", name));
        if (!ours || in_configuration(r, file))
            fprintf(notes(r), "The key file %.*s stays: %s\n", STR_FMT(keys->keys[i].key),
                    ours ? "the configuration names it" : "it was not made here");
        else
            unlinkat(r->folder, name, 0);
    }
}

/* ---- begin ---- */

static struct rotation_key stored(struct rotating *r, const struct signing_key *key) {
    struct str file = str_of(key->file), top = str_printf(r->cli->arena, "%s/", r->settings->state);
    return (struct rotation_key){key->selector, str_starts(file, top) ? str_from_index(file, top.len) : file};
}

/* Every selector that has a meaning already. */
static size_t taken_selectors(struct rotating *r, struct str *ret) {
    const struct signing_domain *d = r->domain;
    const struct signing_set *sets[] = {&d->configured, &d->old, &d->next};
    size_t count = 0;
    for (size_t i = 0; i < 3; i++)
        for (size_t k = 0; k < sets[i]->count; k++)
            ret[count++] = sets[i]->keys[k].selector;
    return count;
}

/* A key like the present one, but never a shorter RSA key than one makes today. */
static int make_next(struct rotating *r, const struct signing_key *like, struct rotation_key *ret,
                     struct buf *records) {
    struct arena *arena = r->cli->arena;
    struct str taken[3 * SIGNING_SET_MAX];
    struct buf record __attribute__((cleanup(buf_free))) = {0};
    struct dkim_key *key = NULL;
    struct dkim_making making = {.domain = r->domain->domain, .algorithm = dkim_key_algorithm(like->key)};
    making.bits = dkim_key_bits(like->key) > DKIM_CLI_BITS ? dkim_key_bits(like->key) : DKIM_CLI_BITS;
    making.selector = dkim_selector_new(r->cli, r->folder, making.domain, making.algorithm, taken,
                                        taken_selectors(r, taken));
    int bad = dkim_key_make(r->cli, r->folder, &making, &key);
    if (bad)
        return bad;
    ret->selector = making.selector;
    ret->key = str_printf(arena, "keys/%s", dkim_key_name(arena, making.domain, making.selector));
    bad = dkim_key_record(key, &record) != 0 ? refuse(r, "the key has no record") : CLI_DONE;
    struct str name =
        str_printf(arena, "%.*s._domainkey.%.*s", STR_FMT(making.selector), STR_FMT(making.domain));
    buf_printf(records, "%.*s\n", STR_FMT(dkim_zone_line(arena, name, buf_view(&record))));
    dkim_key_free(key);
    return bad;
}

static json_t *lines_json(struct str lines) {
    json_t *list = json_array();
    for (ptrdiff_t end; (end = str_index(lines, '\n')) >= 0; lines = str_from_index(lines, (size_t)end + 1))
        json_array_append_new(list, json_stringn(lines.at, (size_t)end));
    return list;
}

/* `records`: lines for a zone, to be published; "": not asked for. */
static void print_json(struct rotating *r, const struct rotation *rotation, struct str records) {
    struct buf text __attribute__((cleanup(buf_free))) = {0};
    static const char *const phases[] = {"pending", "switched", "over"};
    rotation_write(rotation, &text);
    json_t *line = json_loadb(text.at, text.len, 0, NULL);
    json_object_del(line, "version");
    json_object_set_new(line, "phase", json_string(phases[rotation_phase(rotation, r->now)]));
    if (records.len)
        json_object_set_new(line, "publish", lines_json(records));
    json_dumpf(line, r->cli->out, JSON_COMPACT);
    fputc('\n', r->cli->out);
    json_decref(line);
}

static void print_begun(struct rotating *r, const struct rotation *rotation, struct str records) {
    if (r->cli->json) {
        print_json(r, rotation, records);
        return;
    }
    fprintf(r->cli->out,
            "Publish now:\n%.*s\nThe new key signs from %.*s on. Before: sluice dkim check %.*s\n"
            "The old record has to stay until %.*s. Then: sluice dkim rotate %.*s --finish\n",
            STR_FMT(records), STR_FMT(times(r, rotation->switch_ms)), STR_FMT(rotation->domain),
            STR_FMT(times(r, rotation->keep_ms)), STR_FMT(rotation->domain));
}

static int begin(struct rotating *r, int64_t after_ms) {
    const struct signing_set *present = signing_set_at(r->domain, r->now);
    struct rotation next = {.domain = r->domain->domain, .started_ms = r->now};
    struct buf records __attribute__((cleanup(buf_free))) = {0};
    int bad = CLI_DONE;
    next.switch_ms = r->now + after_ms;
    next.keep_ms = next.switch_ms + r->domain->rotation_ms;
    for (size_t i = 0; i < r->domain->configured.count; i++)
        next.configured[next.configured_count++] = r->domain->configured.keys[i].selector;
    for (size_t i = 0; i < present->count && !bad; i++) {
        next.old.keys[next.old.count++] = stored(r, &present->keys[i]);
        bad = make_next(r, &present->keys[i], &next.next.keys[next.next.count], &records);
        next.next.count += !bad;
    }
    if (!bad)
        bad = dkim_rotation_save(r->cli, r->folder, next.domain, &next);
    if (bad) {
        remove_files(r, &next.next);
        return bad;
    }
    print_begun(r, &next, buf_view(&records));
    return tell_daemon(r) ? CLI_DONE : CLI_NO;
}

/* ---- end ---- */

/* Forgets the old keys. The rotation stays on record while the configuration does not name the new ones. */
static int finish(struct rotating *r) {
    struct rotation next = r->rotation;
    bool same = same_set(r, &next.next);
    next.old = (struct rotation_keys){0};
    int bad = dkim_rotation_save(r->cli, r->folder, r->domain->domain, same ? NULL : &next);
    if (!bad && !tell_daemon(r))
        bad = CLI_NO;
    if (bad)
        return bad;
    for (size_t i = 0; i < r->rotation.old.count; i++)
        fprintf(notes(r), "Remove the record %.*s._domainkey.%.*s from DNS.\n",
                STR_FMT(r->rotation.old.keys[i].selector), STR_FMT(r->domain->domain));
    remove_files(r, &r->rotation.old);
    return CLI_DONE;
}

static int run_finish(struct rotating *r) {
    if (!r->recorded)
        return refuse(r, "no rotation is on record");
    switch (rotation_phase(&r->rotation, r->now)) {
    case ROTATION_PENDING:
        return refuse(r, "the new key signs only from %.*s on; --cancel takes the rotation back",
                      STR_FMT(times(r, r->rotation.switch_ms)));
    case ROTATION_SWITCHED:
        return refuse(r, "mail under way still has the old signatures: keep the record until %.*s",
                      STR_FMT(times(r, r->rotation.keep_ms)));
    default:
        break;
    }
    if (r->rotation.old.count || same_set(r, &r->rotation.next))
        return finish(r);
    return refuse(r, "nothing is left to remove; %.*s",
                  STR_FMT(dkim_advice(r->cli->arena, r->settings, r->domain)));
}

/* What was on record when the pending rotation began: nothing, or keys that an earlier one had brought. */
static int run_cancel(struct rotating *r) {
    struct rotation before = r->rotation;
    if (!r->recorded)
        return refuse(r, "no rotation is on record");
    if (!r->domain->rotation) { /* of a section that was written anew since */
        int bad = dkim_rotation_save(r->cli, r->folder, r->domain->domain, NULL);
        return bad ? bad : tell_daemon(r) ? CLI_DONE : CLI_NO;
    }
    if (rotation_phase(&r->rotation, r->now) != ROTATION_PENDING)
        return refuse(r, "the new key signs since %.*s: rotate anew instead",
                      STR_FMT(times(r, r->rotation.switch_ms)));
    bool same = same_set(r, &r->rotation.old);
    before.next = before.old;
    before.old = (struct rotation_keys){0};
    before.switch_ms = before.keep_ms = before.started_ms;
    int bad = dkim_rotation_save(r->cli, r->folder, r->domain->domain, same ? NULL : &before);
    if (!bad && !tell_daemon(r))
        bad = CLI_NO; /* it may still hold the new key: leave its file */
    if (bad)
        return bad;
    remove_files(r, &r->rotation.next);
    fprintf(notes(r), "The rotation is taken back; the new record may be removed from DNS.\n");
    return CLI_DONE;
}

/* ---- the command ---- */

static int run_begin(struct rotating *r, const struct cli_arguments *arguments) {
    struct str after = cli_value(arguments, "after");
    int64_t after_ms = r->domain->rotation_ms;
    if (after.at && (!config_parse_duration(after, &after_ms) || after_ms < 0 ||
                     after_ms > AFTER_MAX_DAYS * INT64_C(86400000)))
        return cli_usage(r->cli, "--after %.*s: a time such as 96h or 4d, up to a year", STR_FMT(after));
    if (r->recorded && !r->domain->rotation)
        return refuse(r, "a rotation of other selectors is on record; --cancel forgets it");
    if (r->recorded && r->rotation.old.count) {
        enum rotation_phase phase = rotation_phase(&r->rotation, r->now);
        if (phase == ROTATION_PENDING)
            return refuse(r,
                          "a rotation is under way already: the new key signs from %.*s on (--cancel takes "
                          "it back)",
                          STR_FMT(times(r, r->rotation.switch_ms)));
        if (phase == ROTATION_SWITCHED)
            return refuse(r, "a rotation is under way already: the old record has to stay until %.*s",
                          STR_FMT(times(r, r->rotation.keep_ms)));
        remove_files(r, &r->rotation.old);
    }
    return begin(r, after_ms);
}

static int run_status(struct rotating *r) {
    struct dkim_rows rows;
    if (!r->domain->rotation)
        return refuse(r, r->recorded ? "the rotation on record is of other selectors; --cancel forgets it"
                                     : "no rotation is on record");
    if (r->cli->json)
        print_json(r, r->domain->rotation, STR(""));
    else
        fprintf(r->cli->out, "begun %.*s, switch %.*s, old record until %.*s\n\n",
                STR_FMT(times(r, r->domain->rotation->started_ms)),
                STR_FMT(times(r, r->domain->rotation->switch_ms)),
                STR_FMT(times(r, r->domain->rotation->keep_ms)));
    int bad = dkim_rows_of(r->cli, r->settings, r->domain->domain, &rows);
    if (!bad)
        bad = dkim_check_rows(r->cli, r->settings, &rows);
    dkim_rows_free(&rows);
    return bad;
}

static int run_writing(struct rotating *r, const struct cli_arguments *arguments) {
    struct str why;
    int bad = dkim_folder_open(r->cli, r->settings->state, r->settings->user, &r->folder);
    if (bad)
        return bad;
    int error =
        rotation_load(r->cli->arena, rotation_path(r->cli->arena, r->settings->keys_dir, r->domain->domain),
                      &why, &r->rotation);
    r->recorded = !error;
    if (error && error != SLUICE_ENOTFOUND)
        bad = refuse(r, "rotation: %.*s", STR_FMT(why));
    else if (cli_has(arguments, "status"))
        bad = run_status(r);
    else if (cli_has(arguments, "cancel"))
        bad = run_cancel(r);
    else if (cli_has(arguments, "finish"))
        bad = run_finish(r);
    else
        bad = run_begin(r, arguments);
    close(r->folder);
    return bad;
}

int dkim_rotate(struct cli *cli, const struct cli_arguments *arguments) {
    struct rotating r = {.cli = cli, .now = clock_wall_ms(), .folder = -1};
    struct str domain;
    if (arguments->word_count != 2 || arguments->given_count > 1)
        return cli_usage(cli,
                         "usage: sluice dkim rotate DOMAIN [--after TIME | --status | --cancel | --finish]");
    if (domain_normal(cli->arena, str_of(arguments->words[1]), &domain) != 0)
        return cli_usage(cli, "%s: no domain", arguments->words[1]);
    int bad = dkim_settings(cli, &r.settings);
    if (!bad && !(r.domain = signing_domain_of(r.settings->policy, domain))) {
        fprintf(cli->err, "sluice: no tenant has a dkim \"%.*s\"\n", STR_FMT(domain));
        bad = CLI_NO;
    }
    if (!bad)
        bad = run_writing(&r, arguments);
    settings_unref(r.settings);
    return bad;
}
