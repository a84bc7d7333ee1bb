// The page that OAuth leads back to: its code leaves the address at once. The window that opened it
// is handed the proof that it was its customer who came back, if it is a page that may have it;
// where there is no such window, the customer types the short code there.
"use strict";
history.replaceState(null, "", location.pathname);
{
  const ANSWERED_MS = 5000;
  const main = document.querySelector("[data-proof]");
  if (main) {
    const { proof, origins } = main.dataset;
    main.removeAttribute("data-proof");
    const opener = window.opener;
    const show = (name) => {
      for (const id of ["going", "done", "typing"]) document.getElementById(id).hidden = id !== name;
    };
    // Whose page it is can be seen of our own alone; any other one gets nothing but by its name.
    const ours = () => { try { return opener.location.origin === location.origin; } catch { return false; } };
    if (opener) {
      const same = ours();
      const allowed = origins.split(" ").filter((origin) => (origin === location.origin) === same);
      show("going");
      const late = setTimeout(show, ANSWERED_MS, "typing");
      addEventListener("message", (event) => {
        if (event.source !== opener || !allowed.includes(event.origin) || event.data?.type !== "hookline-confirmed") return;
        clearTimeout(late);
        show("done");
        setTimeout(() => window.close(), 600);
      });
      for (const origin of allowed) opener.postMessage({ type: "hookline-proof", proof }, origin);
    }
  }
}
