# Where things go. Packages set PREFIX=/usr; the configuration goes to /etc whatever the prefix.
SYSCONFDIR ?= /etc
SBINDIR    ?= $(PREFIX)/sbin
MANDIR     ?= $(PREFIX)/share/man
UNITDIR    ?= $(PREFIX)/lib/systemd/system
BASHDIR    ?= $(PREFIX)/share/bash-completion/completions
ZSHDIR     ?= $(PREFIX)/share/zsh/site-functions
FISHDIR    ?= $(PREFIX)/share/fish/vendor_completions.d

CONFIG := $(DESTDIR)$(SYSCONFDIR)/kongtap/kongtap.yaml
INSTALLED := $(SBINDIR)/kongtap $(MANDIR)/man8/kongtap.8 $(UNITDIR)/kongtap.service $(BASHDIR)/kongtap $(ZSHDIR)/_kongtap \
	$(FISHDIR)/kongtap.fish

.PHONY: install uninstall deb man

$(O)/kongtap.8: deploy/kongtap.8.in deploy/make-man.sh $(O)/kongtap
	$(call msg,MAN,$@)
	$(Q)deploy/make-man.sh $(O)/kongtap deploy/kongtap.8.in >$@

man: $(O)/kongtap.8 ## make the man page

install: $(O)/kongtap $(O)/kongtap.8 ## install under DESTDIR/PREFIX; an existing configuration is left alone
	install -D -m 755 $(O)/kongtap $(DESTDIR)$(SBINDIR)/kongtap
	install -D -m 644 $(O)/kongtap.8 $(DESTDIR)$(MANDIR)/man8/kongtap.8
	install -d $(DESTDIR)$(UNITDIR)
	sed -e 's,/usr/sbin/kongtap,$(SBINDIR)/kongtap,' -e 's,/etc/kongtap,$(SYSCONFDIR)/kongtap,g' \
		deploy/systemd/kongtap.service >$(DESTDIR)$(UNITDIR)/kongtap.service
	chmod 644 $(DESTDIR)$(UNITDIR)/kongtap.service
	install -D -m 644 deploy/completion/kongtap.bash $(DESTDIR)$(BASHDIR)/kongtap
	install -D -m 644 deploy/completion/_kongtap $(DESTDIR)$(ZSHDIR)/_kongtap
	install -D -m 644 deploy/completion/kongtap.fish $(DESTDIR)$(FISHDIR)/kongtap.fish
	[ -e $(CONFIG) ] || install -D -m 644 deploy/kongtap.yaml $(CONFIG)

uninstall: ## remove what install put there; a configuration that was changed stays
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	if cmp -s deploy/kongtap.yaml $(CONFIG); then rm -f $(CONFIG); fi
	-rmdir $(dir $(CONFIG)) 2>/dev/null

deb: $(O)/kongtap $(O)/kongtap.8 ## build a Debian package in O
	$(Q)+O=$(O) scripts/make-deb.sh
