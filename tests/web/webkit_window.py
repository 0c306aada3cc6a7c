"""A window of WebKitGTK that does what its standard input says. Runs in Debian's own Python, which has the bindings.

One argument: the folder of the profile. A line of input is JSON: {"go": URL} or {"run": body of an async function}. A
line of output answers each: the value, as JSON, or {"error": text}. The end of the input closes the window.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import gi

gi.require_version("Gtk", "3.0")
gi.require_version("WebKit2", "4.1")
from gi.repository import GLib, Gtk, WebKit2  # noqa: E402  after the choice of versions


class Window:
    def __init__(self, profile: str) -> None:
        data = WebKit2.WebsiteDataManager(
            base_data_directory=f"{profile}/data", base_cache_directory=f"{profile}/cache"
        )
        self.view = WebKit2.WebView(web_context=WebKit2.WebContext(website_data_manager=data))
        self.view.connect("load-changed", self._loading)
        self.view.connect("load-failed", lambda *failed: self._answer({"error": failed[-1].message}))
        window = Gtk.Window(default_width=390, default_height=844)
        window.add(self.view)
        window.show_all()
        GLib.io_add_watch(sys.stdin, GLib.IO_IN | GLib.IO_HUP, self._line)

    def _line(self, source: Any, condition: Any) -> bool:
        line = source.readline()
        if not line:
            Gtk.main_quit()
            return False
        order = json.loads(line)
        if "go" in order:
            self.view.load_uri(order["go"])
        else:
            self.view.call_async_javascript_function(order["run"], -1, None, None, None, None, self._has_run)
        return True

    def _loading(self, view: Any, event: Any) -> None:
        if event == WebKit2.LoadEvent.FINISHED:
            self._answer(None)

    def _has_run(self, view: Any, result: Any) -> None:
        try:
            value = view.call_async_javascript_function_finish(result)
        except GLib.Error as error:
            self._answer({"error": error.message})
        else:
            self._answer(json.loads(value.to_json(0) or "null"))

    def _answer(self, value: object) -> None:
        print(json.dumps(value), flush=True)


Window(sys.argv[1])
Gtk.main()
