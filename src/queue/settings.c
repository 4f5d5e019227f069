#include "queue/settings.h"

struct delivery_settings delivery_settings_default(void) {
    return (struct delivery_settings){.port = 25,
                                      .first_retry_ms = INT64_C(5) * 60 * 1000,
                                      .max_retry_ms = INT64_C(60) * 60 * 1000,
                                      .expire_ms = INT64_C(24) * 60 * 60 * 1000,
                                      .connections = 20,
                                      .messages_per_connection = 100,
                                      .recipients_per_transaction = 50};
}

static const struct str *copy_strs(struct arena *arena, const struct str *from, size_t count) {
    struct str *to = arena_array(arena, struct str, count);
    for (size_t i = 0; i < count; i++)
        to[i] = str_copy(arena, from[i]);
    return to;
}

struct destination_settings destination_settings_copy(struct arena *arena,
                                                      const struct destination_settings *from) {
    struct destination_settings to = *from;
    to.name = str_copy(arena, from->name);
    to.mx = copy_strs(arena, from->mx, from->mx_count);
    to.domains = copy_strs(arena, from->domains, from->domain_count);
    to.route = str_copy(arena, from->route);
    to.ehlo_name = str_copy(arena, from->ehlo_name);
    return to;
}

const struct queue_settings *queue_settings_copy(struct arena *arena, const struct queue_settings *from) {
    struct queue_settings *to = arena_new_of(arena, struct queue_settings);
    *to = *from;
    struct destination_settings *destinations =
        arena_array(arena, struct destination_settings, from->destinations.count);
    for (size_t i = 0; i < from->destinations.count; i++)
        destinations[i] = destination_settings_copy(arena, &from->destinations.at[i]);
    to->destinations.at = destinations;

    struct pool_schedule *schedules = arena_array(arena, struct pool_schedule, from->schedule_count);
    for (size_t i = 0; i < from->schedule_count; i++) {
        schedules[i] = from->schedules[i];
        schedules[i].pool = str_copy(arena, from->schedules[i].pool);
    }
    to->schedules = schedules;

    struct own_endpoint *own = arena_array(arena, struct own_endpoint, from->own_count);
    for (size_t i = 0; i < from->own_count; i++)
        own[i] = from->own[i];
    to->own = own;
    to->own_names = copy_strs(arena, from->own_names, from->own_name_count);
    return to;
}

static struct str without_dot(struct str name) {
    return str_ends(name, STR(".")) ? str_head(name, name.len - 1) : name;
}

bool destination_pattern_matches(struct str pattern, struct str name) {
    pattern = without_dot(pattern);
    name = without_dot(name);
    if (str_starts(pattern, STR("*."))) {
        struct str tail = str_from_index(pattern, 1);
        return name.len > tail.len && str_ends_nocase(name, tail);
    }
    return str_eq_nocase(pattern, name);
}

const struct destination_settings *destination_of_domain(const struct queue_settings *settings,
                                                         struct str domain) {
    for (size_t i = 0; i < settings->destinations.count; i++) {
        const struct destination_settings *destination = &settings->destinations.at[i];
        for (size_t j = 0; j < destination->domain_count; j++)
            if (destination_pattern_matches(destination->domains[j], domain))
                return destination;
    }
    return NULL;
}

const struct destination_settings *destination_of_mx(const struct queue_settings *settings, struct str host) {
    for (size_t i = 0; i < settings->destinations.count; i++) {
        const struct destination_settings *destination = &settings->destinations.at[i];
        for (size_t j = 0; j < destination->mx_count; j++)
            if (destination_pattern_matches(destination->mx[j], host))
                return destination;
    }
    return NULL;
}

const struct destination_settings *destination_named(const struct queue_settings *settings, struct str name) {
    for (size_t i = 0; i < settings->destinations.count; i++)
        if (str_eq(settings->destinations.at[i].name, name))
            return &settings->destinations.at[i];
    return NULL;
}
