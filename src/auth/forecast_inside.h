/* forecast_inside.h - the words of a forecast. */
#pragma once
#include "auth/forecast.h"

/* The operator's sentence; "" when all is well. */
struct str forecast_warning(const struct forecast *, const struct forecast_identity *,
                            const struct dmarc_verdict *, const struct ip *source, struct arena *);
