// The files of an answer: which were chosen, how many and how large they may be, and that a picture needs no words.
"use strict";

function takesFiles(form, afterChange) {
  const input = form.elements.files;
  const box = document.getElementById("files-box");

  function size(bytes) {
    const mb = bytes / 1024 / 1024;
    return mb < 1 ? `${Math.max(1, Math.round(bytes / 1024))} KB` : `${mb.toFixed(1)} MB`;
  }

  function complaint(files) {
    const bytes = files.reduce((sum, each) => sum + each.size, 0);
    if (files.length > Number(form.dataset.mostFiles)) {
      return `Choose at most ${form.dataset.mostFiles} files.`;
    }
    if (bytes > Number(form.dataset.mostBytes)) {
      return `Together the files are larger than the ${size(form.dataset.mostBytes)} that can be sent.`;
    }
    return files.some((each) => !each.size) ? "One of the files is empty." : "";
  }

  function show() {
    const files = [...input.files];
    const wrong = complaint(files);
    input.setCustomValidity(wrong);
    document.getElementById("files-chosen").textContent = files.map((each) => `${each.name} (${size(each.size)})`).join(", ");
    document.getElementById("files-wrong").textContent = wrong;
    box.hidden = !files.length;
    form.elements.body.required = !files.length;
    afterChange();
  }

  function forget() {
    input.value = "";
    show();
  }

  input.addEventListener("change", show);
  document.getElementById("files-forget").addEventListener("click", () => {
    forget();
    input.focus();
  });
  return forget;
}
