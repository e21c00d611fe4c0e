// Google's and Microsoft's own clients, for scripts that are started with GATE TOKENS: they use the upstreams mail, drive,
// calendar and graph at the gateway GATE. TOKENS is JSON, a token by the upstream's name.
import { gmail } from "@googleapis/gmail";
import { drive } from "@googleapis/drive";
import { calendar, auth } from "@googleapis/calendar";
import { Client, HTTPMessageHandler } from "@microsoft/microsoft-graph-client";

const [gate, given] = process.argv.slice(2);
const tokens = JSON.parse(given);
export const out = {};

export async function call(name, f) {
	try {
		out[name] = (await f()) ?? null;
	} catch (e) {
		out[name] = { status: e.statusCode ?? e.status ?? e.code ?? e.response?.status ?? 0, message: e.message };
	}
}

function google(make, version, upstream) {
	const who = new auth.OAuth2();
	who.setCredentials({ access_token: tokens[upstream], token_type: "Bearer", expiry_date: Date.now() + 3_600_000 });
	return make({ version, auth: who });
}

// Of a rootUrl for all calls this client keeps the host alone; of one for a call, the path, too.
export const at = (upstream, more) => ({ rootUrl: `${gate}/${upstream}/`, ...more });

export const raw = (to) => Buffer.from(`To: ${to}\r\nSubject: hello\r\n\r\nthere`).toString("base64url");

export const mail = google(gmail, "v1", "mail");
export const files = google(drive, "v3", "drive");
export const events = google(calendar, "v3", "calendar");

// Graph's own middleware shows a token to https alone; this is a test on loopback.
const fetching = new HTTPMessageHandler();
const badge = {
	async execute(context) {
		context.options.headers = { ...Object.fromEntries(new Headers(context.options.headers ?? {})), authorization: `Bearer ${tokens.graph}` };
		await fetching.execute(context);
	},
};
export const graph = Client.initWithMiddleware({ middleware: badge, baseUrl: `${gate}/graph/`, defaultVersion: "v1.0" });
