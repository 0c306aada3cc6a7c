"""The sentences of forecasts that the core has, for the catalogue; tests hold the two together."""

from __future__ import annotations

from admin_web.languages import gettext_noop as _

CHANGES = frozenset(
    {
        _("logins that were let in and would be refused"),
        _("logins that were refused, or not ended, and would be let in"),
        _("customers who would be locked"),
        _("locks that would not be put"),
        _("logins of which it cannot be told"),
    }
)
NOTES = frozenset(
    {
        _("It is taken that the settings were the present ones all the time."),
        _("It is taken that everybody types what the new mode asks for, as well as they did."),
        _("No password was checked here until now: each is taken to be right."),
        _(
            "Where the separator was typed cannot be told, because what is typed is never kept. Try it with some "
            "customers, on a client of its own, before all have it."
        ),
        _(
            "Message-Authenticator is counted for five minutes together: where some requests had one and some had "
            "none, whose had none cannot be told."
        ),
        _(
            "Requests that were dropped for want of a Message-Authenticator left no trace: who would be let in cannot "
            "be told."
        ),
        _(
            "Which realm a name came with is not kept: where it depends on the first factor of the realm, it cannot be "
            "told."
        ),
        _("Where a login was refused before its code was looked at, whether the code was right cannot be told."),
        _("Wrong codes from before the first day are known only where a lock told of them."),
        _("Who would have been locked stays locked to the end: nobody can have unlocked them."),
        _(
            "How late or early accepted codes were is kept since a later day only: for those before it, a narrower "
            "window cannot be told."
        ),
        _(
            'How wrong codes miss is not kept with log.verdicts = "none": for a wider window, set it to "refused" and '
            "look again after some days."
        ),
    }
)
