// Shows how far an upload and its import are. Without this script the form works the same, only silently.
document.addEventListener("submit", (event) => {
  const form = event.target.closest("[data-import-form]");
  if (!form) return;
  event.preventDefault();
  const box = form.querySelector("[data-import-progress]");
  const bar = box.querySelector("progress");
  const status = box.querySelector("[role=status]");
  const button = form.querySelector("button[type=submit]");

  const show = (share, text) => {
    if (share === null) bar.removeAttribute("value");
    else bar.value = Math.round(100 * share);
    if (status.textContent !== text) status.textContent = text;
  };
  let reading = false;
  const poll = async () => {
    try {
      const { done, total } = await (await fetch(form.dataset.progressUrl, { cache: "no-store" })).json();
      if (reading && total) show(done / total, `Read ${done} of ${total} files`);
    } catch {
      // The next question may be answered.
    }
    if (reading) setTimeout(poll, 400);
  };
  const failed = (text) => {
    reading = false;
    button.disabled = false;
    show(0, text);
  };

  box.hidden = false;
  button.disabled = true;
  show(0, "Sending …");
  const request = new XMLHttpRequest();
  request.open("POST", form.action);
  request.upload.onprogress = ({ loaded, total }) => show(loaded / total, `Sending ${Math.round((100 * loaded) / total)} %`);
  request.upload.onload = () => {
    show(null, "Reading the files …");
    reading = true;
    setTimeout(poll, 400);
  };
  request.onerror = () => failed("The connection broke. What was read is kept; send the files again.");
  request.onload = () => {
    reading = false;
    if (request.status < 400) return location.assign(request.responseURL);
    const page = new DOMParser().parseFromString(request.responseText, "text/html").querySelector("main");
    if (!page) return failed(`The server answered ${request.status}. Load the page again and send the files again.`);
    document.querySelector("main").replaceWith(document.importNode(page, true));
    document.querySelector("[role=alert]")?.scrollIntoView();
  };
  request.send(new FormData(form));
});
