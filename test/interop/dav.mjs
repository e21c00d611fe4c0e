// dav.mjs GATE TOKEN WHICH: Google's own clients, through the gateway, of a calendar of CalDAV (WHICH is calendar)
// or files of WebDAV (drive). Prints what each call came to, as JSON.
import { drive } from "@googleapis/drive";
import { calendar, auth } from "@googleapis/calendar";

const [gate, token, which] = process.argv.slice(2);
const out = {};

async function call(name, f) {
	try {
		out[name] = (await f()) ?? null;
	} catch (e) {
		out[name] = { status: e.status ?? e.code ?? 0, message: e.message };
	}
}

function google(make, version) {
	const who = new auth.OAuth2();
	who.setCredentials({ access_token: token, token_type: "Bearer", expiry_date: Date.now() + 3_600_000 });
	return make({ version, auth: who });
}

const at = (more) => ({ rootUrl: `${gate}/${which}/`, ...more });

if (which === "calendar") {
	const { events } = google(calendar, "v3");
	const from = new Date(Date.now() - 86_400_000).toISOString();
	await call("calendar list", async () => {
		const { data } = await events.list({ calendarId: "primary", singleEvents: true, orderBy: "startTime", timeMin: from }, at());
		return data.items.map((e) => e.summary).sort();
	});
	const day = new Date(Date.now() + 5 * 86_400_000).toISOString().slice(0, 10);
	await call("calendar insert", async () => {
		const requestBody = { summary: "Walk", description: "Bring boots", start: { dateTime: `${day}T10:00:00`, timeZone: "Europe/Berlin" }, end: { dateTime: `${day}T11:00:00`, timeZone: "Europe/Berlin" } };
		const { data } = await events.insert({ calendarId: "primary", requestBody }, at());
		const { data: found } = await events.get({ calendarId: "primary", eventId: data.id }, at());
		out["calendar hidden text"] = found.description ?? "nothing";
		return found.summary;
	});
}

if (which === "drive") {
	const { files } = google(drive, "v3");
	await call("drive list", async () => (await files.list({ pageSize: 10, fields: "files(id,name)", orderBy: "name" }, at())).data.files.map((f) => f.name));
	const open = async (fileId) => (await files.get({ fileId, alt: "media" }, at({ responseType: "text" }))).data;
	await call("drive content", async () => {
		const { data } = await files.list({ q: "mimeType='text/plain'", orderBy: "name", fields: "files(id)" }, at());
		return open(data.files[0].id);
	});
	let id;
	await call("drive upload", async () => {
		const { data } = await files.create({ requestBody: { name: "Grüße.txt" }, media: { mimeType: "text/plain", body: "Gruß" } }, at());
		id = data.id;
		return open(id);
	});
	await call("drive rename", async () => {
		const { data } = await files.update({ fileId: id, requestBody: { name: "new.txt" } }, at());
		id = data.id;
		const { data: found } = await files.get({ fileId: id, fields: "name" }, at());
		return found.name;
	});
	await call("drive delete", async () => {
		await files.delete({ fileId: id }, at());
		return (await files.list({ q: "name='new.txt'" }, at())).data.files.length === 0 ? "gone" : "there";
	});
}

console.log(JSON.stringify(out));
