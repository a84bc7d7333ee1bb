// The hosted page: the session token comes behind `#`, and leaves the address before anything else.
// It is kept in this entry of the browser's history, so that a page that is loaded again (a phone
// does that when somebody comes back from another app) goes on; it is gone with the flow's end.
"use strict";
{
  const element = document.querySelector("hookline-connect");
  const missing = document.getElementById("missing");
  const keep = (token) => history.replaceState(token ? { session: token } : null, "", location.pathname + location.search);
  const open = () => {
    const token = location.hash.slice(1) || history.state?.session || "";
    keep(token);
    element.hidden = !token;
    missing.hidden = Boolean(token);
    if (token) element.session = token;
  };
  const parameters = new URLSearchParams(location.search);
  if (["light", "dark"].includes(parameters.get("theme"))) element.setAttribute("theme", parameters.get("theme"));
  if (parameters.get("dir") === "rtl") document.documentElement.dir = "rtl";
  addEventListener("hashchange", open);
  element.addEventListener("error", () => keep(""));
  element.addEventListener("close", (event) => {
    keep("");
    // A page that was opened by a link stays: it says itself that it can be closed.
    if (event.detail.reason === "done" && (window.opener || history.length === 1)) window.close();
  });
  open();
}
