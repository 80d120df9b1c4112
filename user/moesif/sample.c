#include "moesif/sample.h"

static int lower(int a, int b)
{
	if (a < 0 || b < 0)
		return a < 0 ? b : a;
	return a < b ? a : b;
}

int sample_rate(
	struct remote *r, bool plugin_rule, struct span user, struct span company, const struct remote_facts *facts)
{
	int by_user = remote__user_rate(r, user), by_company = remote__company_rate(r, company), rate;

	if (plugin_rule)
		rate = lower(by_user, by_company);
	else
		rate = by_user >= 0 ? by_user : by_company;
	rate = lower(rate, remote__regex_rate(r, facts));
	return rate >= 0 ? rate : remote__sample_rate(r);
}

bool sample_keep(int rate, uint64_t dice)
{
	return rate > (int)(dice % 100);
}

uint32_t sample_weight(int rate)
{
	return rate <= 0 ? 1 : 100U / (uint32_t)rate;
}
