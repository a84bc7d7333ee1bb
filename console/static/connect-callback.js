// The page that OAuth leads back to: its code leaves the address, and the window closes itself.
"use strict";
history.replaceState(null, "", location.pathname);
if (document.querySelector("[data-close]")) setTimeout(() => window.close(), 1200);
