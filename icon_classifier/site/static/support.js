// Says so if this browser cannot run the page, or if a script of the page is missing. It is in the document itself, before
// all that may be missing, and written in the oldest JavaScript, so that old browsers can read it.
(function () {
  var OLD = "This browser is too old for this page. Update it, or open the page in a recent Chrome, Edge, Firefox or Safari.";
  var NO_WASM =
    "This browser does not run WebAssembly, which the model needs. A setting such as Lockdown Mode may have switched it off. " +
    "Open the page in another browser.";
  // A host may have deleted the scripts that a document, which the browser or a proxy kept for minutes, still names.
  var INCOMPLETE = "The page could not be loaded completely. Reload it.";
  var needed = ["DecompressionStream", "OffscreenCanvas", "createImageBitmap", "Worker", "crypto"];
  var said = "";
  var show = function () {
    var note = document.querySelector(".icon-note .widget-html-content");
    if (note && said) note.textContent = said;
  };
  var tell = function (words) {
    said = words;
    show();
  };
  var refuse = function (words) {
    window.unsupported = words; // page.js reads it
    tell(words);
  };
  for (var i = 0; i < needed.length; i++) if (!(needed[i] in window)) refuse(OLD);
  if (!("noModule" in document.createElement("script"))) refuse(OLD);
  else if (!window.unsupported && typeof WebAssembly !== "object") refuse(NO_WASM);
  document.addEventListener("DOMContentLoaded", show);
  // Extensions of browsers run scripts in the page too. In the one file, ours are in the document.
  var isOurScript = function (address) {
    return /\/page-[0-9a-f]+\//.test(address) || String(address).split("#")[0] === location.href.split("#")[0];
  };
  var onError = function (event) {
    var tag = event.target.tagName; // of an element that could not be loaded; such events do not bubble
    if (window.unsupported) return;
    // Only our script has a version. Hosts insert others, which the policy refuses.
    var isOurs = tag === "SCRIPT" && event.target.getAttribute("data-version");
    if (isOurs || (tag === "LINK" && event.target.rel === "stylesheet")) tell(INCOMPLETE);
    else if (!tag && !window.pageStarted && isOurScript(event.filename)) refuse(OLD); // it cannot read page.js
  };
  window.addEventListener("error", onError, true);
})();
