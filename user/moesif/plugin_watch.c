#include "moesif/plugin_watch.h"

#include "base/log.h"
#include "moesif/known.h"

static void warn(struct plugin_watch *w, const char *by)
{
	if (w->warned)
		return;
	w->warned = true;
	log_warn("moesif",
		"the Moesif plugin is still running in this Kong (seen by %s): what kongtap ships as well is counted "
		"twice. "
		"Remove the plugin, or run kongtap without an application id.",
		by);
}

static bool ends_with(struct span s, struct span tail)
{
	return s.n >= tail.n && span_eq(span_skip(s, s.n - tail.n), tail);
}

static bool is_events_path(struct span target)
{
	return ends_with(target, SPAN_LIT("/v1/events/batch")) || ends_with(target, SPAN_LIT("/v1/events"));
}

void plugin_watch__on_begun(struct plugin_watch *w, const struct exchange *x)
{
	if (w->warned || x->conn.leg != LEG_UPSTREAM || !span_eq(message__method(&x->req), SPAN_LIT("POST")))
		return;
	if (!is_events_path(message__target(&x->req)))
		return;
	/* A client's call that Kong passes on to a collector is no plugin's: nginx marks what it passes on. */
	if (headers__get(&x->req.headers, known_hname(KNOWN_X_REAL_IP).name).p)
		return;
	if (headers__get(&x->req.headers, SPAN_LIT("x-moesif-application-id")).p)
		warn(w, "its calls to the collector");
}

void plugin_watch__on_id(struct plugin_watch *w)
{
	warn(w, "the X-Moesif-Transaction-Id header of a response");
}
