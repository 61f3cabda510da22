/* As few as the configuration has shortcodes, so looked for one by one. */
#include "tests/daraja/merchant.h"

#include <stdlib.h>

#include "common/must.h"

struct merchants {
    struct merchant *list;
    size_t n;
};

struct merchants *merchants_new(const struct config *cfg)
{
    struct merchants *ms = NEW(struct merchants);

    ms->n = cfg->shortcodes_n;
    ms->list = must_alloc(ms->n + 1, sizeof(*ms->list));
    for (size_t i = 0; i < ms->n; i++)
        ms->list[i].settings = &cfg->shortcodes[i];
    return ms;
}

void merchants_free(struct merchants *ms)
{
    if (!ms)
        return;
    free(ms->list);
    free(ms);
}

void merchants_reset(struct merchants *ms)
{
    for (size_t i = 0; i < ms->n; i++)
        ms->list[i] = (struct merchant){.settings = ms->list[i].settings};
}

struct merchant *merchant_find(struct merchants *ms, int64_t shortcode)
{
    for (size_t i = 0; i < ms->n; i++)
        if (ms->list[i].settings->shortcode == shortcode)
            return &ms->list[i];
    return NULL;
}
