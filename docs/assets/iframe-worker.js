/* Search without a server: browsers start no worker for a page that was opened from a folder (file:). There, a hidden
   frame takes the worker's place: it runs the same script and gets the same messages. The theme looks for IFrameWorker
   in the parent, and waits for importScripts, which loads one script after the other. */
if (location.protocol === "file:") {
    window.IFrameWorker = class extends EventTarget {
        constructor(url) {
            super();
            const frame = document.createElement("iframe");
            frame.hidden = true;
            frame.srcdoc = "<!doctype html>";
            this.waiting = [];
            frame.addEventListener("load", () => {
                this.scope = frame.contentWindow;
                this.scope.postMessage = (data) => this.tell("message", { data });
                this.scope.importScripts = (...urls) =>
                    urls.reduce((before, next) => before.then(() => this.run(next)), Promise.resolve());
                this.run(url).then(() => this.waiting.splice(0).forEach((data) => this.send(data)));
            }, { once: true });
            document.documentElement.append(frame);
        }
        run(url) {
            return new Promise((done, failed) => {
                const script = this.scope.document.createElement("script");
                script.src = new URL(url, document.baseURI).href;
                script.onload = () => { this.ready = true; done(); };
                script.onerror = () => { this.tell("error", {}); failed(new Error(`${url} cannot be loaded`)); };
                this.scope.document.head.append(script);
            });
        }
        send(data) {
            this.scope.dispatchEvent(new MessageEvent("message", { data }));
        }
        tell(kind, more) {
            const event = new MessageEvent(kind, more);
            this.dispatchEvent(event);
            const handler = this[`on${kind}`];
            if (handler) handler.call(this, event);
        }
        postMessage(data) {
            if (this.ready) this.send(data);
            else this.waiting.push(data);
        }
        terminate() {}
    };
    window.Worker = window.IFrameWorker;
}
