// Follows the profiling of reference data and shows its report on the same page when it is done.
"use strict";

(() => {
  const SECONDS_BETWEEN_LOOKS = 1;

  const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, seconds * 1000));

  const look = async (url) => {
    const response = await fetch(url, { credentials: "same-origin" });
    if (!response.ok) {
      throw new Error(`${url} answered ${response.status}`);
    }
    return response;
  };

  const show = (report, { percent, step }) => {
    report.querySelector("[data-step]").textContent = step;
    report.querySelector("[data-percent]").textContent = percent;
    report.querySelector("progress").value = percent;
  };

  const follow = async (report) => {
    for (;;) {
      await wait(SECONDS_BETWEEN_LOOKS);
      try {
        const progress = await (await look(report.dataset.progressUrl)).json();
        if (progress.status === "ready" || progress.status === "failed") {
          report.outerHTML = await (await look(report.dataset.reportUrl)).text();
          return;
        }
        show(report, progress);
      } catch {
        // The server may just be restarting: look again.
      }
    }
  };

  document.addEventListener("DOMContentLoaded", () => {
    const report = document.querySelector("#reference-report[data-progress-url]");
    if (report) {
      follow(report);
    }
  });
})();
