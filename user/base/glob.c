#include "base/glob.h"

/* Only the last star is ever taken back: what an earlier one matched can stay as it is. */
bool glob_match(struct span glob, struct span text, bool fold)
{
	size_t g = 0, t = 0, star = SIZE_MAX, star_t = 0;

	while (t < text.n) {
		unsigned char c = (unsigned char)text.p[t];
		unsigned char p = g < glob.n ? (unsigned char)glob.p[g] : 0;

		if (g < glob.n && p == '*') {
			star = g++;
			star_t = t;
		} else if (g < glob.n && (p == '?' || p == c || (fold && ascii_lower(p) == ascii_lower(c)))) {
			g++;
			t++;
		} else if (star != SIZE_MAX) {
			g = star + 1;
			t = ++star_t;
		} else {
			return false;
		}
	}
	while (g < glob.n && glob.p[g] == '*')
		g++;
	return g == glob.n;
}
