// Logs in three times with xmpp.js, each time as fast as it can: by password, by resuming, by token alone.
// node login.mjs ADDRESS DOMAIN NAME PASSWORD; a line of JSON for each login on standard output.
import { client, xml } from "@xmpp/client";

const [, , service, domain, username, password] = process.argv;
const userAgent = xml("user-agent", { id: "d4565fa7-4d72-4749-b3d3-740edbf87770" }, [
  xml("software", {}, "xmpp.js"),
]);
let token;

function make(secret) {
  const made = client({ service, domain, resource: "js", username, password: secret, userAgent });
  made.fast.fetchToken = async () => token;
  made.fast.saveToken = async (given) => { token = given; };
  made.fast.deleteToken = async () => { token = undefined; };
  made.on("error", (error) => console.error(error));
  return made;
}

// What the login looked like on the wire: the names of the elements that each side sent.
function watch(xmpp) {
  const seen = { sent: [], received: [], mechanism: "", success: "" };
  xmpp.on("send", (element) => {
    seen.sent.push(element.name);
    if (element.attrs.mechanism) seen.mechanism = element.attrs.mechanism;
  });
  xmpp.on("element", (element) => {
    seen.received.push(element.name);
    if (element.name === "success") seen.success = element.toString();
  });
  return seen;
}

function told(what, seen, xmpp) {
  console.log(JSON.stringify({ what, jid: xmpp.jid.toString(), token: token !== undefined, ...seen }));
}

const once = (emitter, event) => new Promise((resolve) => emitter.once(event, resolve));

// start() itself may miss the answer to its header when the server is quicker than its own writing.
async function online(xmpp) {
  const there = once(xmpp, "online");
  xmpp.start().catch(() => {});
  await there;
}

const first = make(password);
let seen = watch(first);
await online(first);
told("password", seen, first);

// The network goes, without a word; it comes back by itself.
seen = watch(first);
const resumed = once(first.streamManagement, "resumed");
first.reconnect.delay = 10;
(first.socket.socket ?? first.socket).destroy();
await resumed;
told("resumed", seen, first);
await first.stop().catch(() => {});

// Another process, which has the token and no password any more.
const second = make("wrong");
seen = watch(second);
await online(second);
told("token", seen, second);
const pong = await second.iqCaller.request(
  xml("iq", { type: "get", to: domain }, xml("ping", "urn:xmpp:ping")),
);
told(pong.attrs.type, seen, second);
process.exit(0); // its timers would keep it
