// The page begins here: language and colours, the frame around all views, then the view of the URL.

import { startFrame } from "./frame.js";
import { startLanguage } from "./language.js";
import { startRouter } from "./router.js";
import { startTheme } from "./theme.js";
import { startAges } from "./times.js";

document.getElementById("boot").remove();
// A browser that goes back shows the page as it was, even to somebody who has logged out since.
window.addEventListener("pageshow", (event) => event.persisted && location.reload());
startLanguage();
startTheme();
startRouter(startFrame());
startAges();
