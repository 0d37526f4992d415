// Says so if this browser cannot run the page. It is written in the oldest JavaScript, so that old browsers can read it.
(function () {
  var OLD = "This browser is too old for this page. Update it, or open the page in a recent Chrome, Edge, Firefox or Safari.";
  var NO_WASM =
    "This browser does not run WebAssembly, which the model needs. A setting such as Lockdown Mode may have switched it off. " +
    "Open the page in another browser.";
  var needed = ["DecompressionStream", "OffscreenCanvas", "createImageBitmap", "Worker", "crypto"];
  var tell = function (words) {
    window.unsupported = words; // page.js reads it
    document.querySelector(".icon-note .widget-html-content").textContent = words;
  };
  for (var i = 0; i < needed.length; i++) if (!(needed[i] in window)) tell(OLD);
  if (!("noModule" in document.createElement("script"))) tell(OLD);
  else if (!window.unsupported && typeof WebAssembly !== "object") tell(NO_WASM);
  window.addEventListener("error", function () {
    if (!window.pageStarted) tell(OLD); // it cannot read page.js
  });
})();
