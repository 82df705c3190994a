// The search runs in a worker, and browsers start no worker from a file. Where the site is opened as a file,
// a hidden frame takes the worker's place: the same script, the same two messages.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super()
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      document.body.append(this.frame)
      const inside = this.frame.contentWindow
      window.addEventListener("message", event => {
        if (event.source !== inside) return
        this.onmessage?.(event)
        this.dispatchEvent(new MessageEvent("message", { data: event.data }))
      })
      this.ready = new Promise((resolve, reject) => {
        // A worker's `postMessage` speaks to the page, a frame's to itself.
        inside.postMessage = message => window.dispatchEvent(
          new MessageEvent("message", { data: message, source: inside }))
        const script = inside.document.createElement("script")
        script.src = url
        script.onload = resolve
        script.onerror = reject
        inside.document.body.append(script)
      })
    }
    postMessage(data) {
      this.ready.then(() => this.frame.contentWindow.dispatchEvent(new MessageEvent("message", { data })))
    }
    terminate() {
      this.frame.remove()
    }
  }
}
