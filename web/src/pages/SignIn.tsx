import { Alert, Button, Divider, Paper, Stack, Text, TextInput, Title } from '@mantine/core'
import { IconFingerprint, IconLogin2 } from '@tabler/icons-react'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useSearch } from '@tanstack/react-router'
import { ask, consoleBase, Trouble } from '../api/client'
import { signInOptions } from '../api/queries'
import { assertion } from '../app/passkey'
import { Mark } from '../parts/Mark'
import { Failure } from '../parts/States'

export default function SignIn() {
  const { to } = useSearch({ from: '/sign-in' })
  const options = useQuery(signInOptions)
  // Only a path of the console itself is gone to afterwards.
  const back = to && to.startsWith('/') && !to.startsWith('//') ? to : '/'
  const target = new URL(consoleBase.pathname.replace(/\/$/, '') + back, consoleBase.origin)
  const home = target.origin === consoleBase.origin && target.pathname.startsWith(consoleBase.pathname) ? target.pathname + target.search : consoleBase.pathname
  const passkey = useMutation({
    mutationFn: async () => {
      const begun = await ask<Record<string, unknown>>('POST', 'console/passkey/begin', {})
      await ask('POST', 'console/passkey/finish', await assertion(begun))
    },
    onSuccess: () => window.location.assign(home),
  })
  const code = useMutation({ mutationFn: enter, onSuccess: () => window.location.assign(home) })
  if (to === 'done') void watch()
  return (
    <div style={{ minHeight: '100vh', display: 'grid', placeItems: 'center', padding: 16 }}>
      <Paper component="main" withBorder p="xl" w="100%" maw={400} radius="lg" bg="var(--card)">
        <Stack gap="lg">
          <div>
            <Mark size={34} color="var(--rope)" />
            <Title order={1} mt="sm">
              Sign in to Lanyard
            </Title>
            <Text c="dimmed" mt={4}>
              See what your agents do, decide what they ask, and stop them when you must.
            </Text>
          </div>
          {options.isError && <Failure error={options.error} again={() => void options.refetch()} />}
          {options.data?.oidc && (
            <Button component="a" size="md" href={withReturn(options.data.oidc.url, back)} leftSection={<IconLogin2 size={18} />}>
              Sign in with {options.data.oidc.name}
            </Button>
          )}
          {options.data?.passkey && 'credentials' in navigator && (
            <>
              <Button size="md" variant={options.data.oidc ? 'default' : 'filled'} leftSection={<IconFingerprint size={18} />} loading={passkey.isPending} onClick={() => passkey.mutate()}>
                Use a passkey
              </Button>
              {passkey.isError && (
                <Alert color="red" variant="light" role="alert">
                  {passkey.error instanceof Trouble ? passkey.error.message : 'The passkey was not used. Try again, or sign in with a code.'}
                </Alert>
              )}
            </>
          )}
          {(options.data?.oidc || options.data?.passkey) && <Divider label="or" />}
          <form
            onSubmit={(e) => {
              e.preventDefault()
              code.mutate(new FormData(e.currentTarget))
            }}
          >
            <Stack gap="xs">
              <TextInput
                name="code"
                label="Sign-in code"
                description="Ask the person who runs Lanyard for one. It is good for ten minutes, once."
                placeholder="K7QF-2M9X-ABCD-EFGH"
                autoComplete="one-time-code"
                autoCapitalize="characters"
                spellCheck={false}
                required
                maxLength={40}
                styles={{ input: { fontFamily: 'var(--mantine-font-family-monospace)', letterSpacing: '.04em' } }}
              />
              {code.isError && (
                <Alert color="red" variant="light" role="alert">
                  {code.error.message}
                </Alert>
              )}
              <Button type="submit" variant={options.data?.oidc || options.data?.passkey ? 'default' : 'filled'} loading={code.isPending || code.isSuccess}>
                Sign in with the code
              </Button>
            </Stack>
          </form>
          <Text size="xs" c="dimmed">
            For operators: <span className="mono">lanyard owner sign-in NAME</span> makes a code.
          </Text>
        </Stack>
      </Paper>
    </div>
  )
}

const withReturn = (url: string, to: string) => {
  const u = new URL(url, consoleBase)
  u.searchParams.set('return', `/console${to}`)
  return u.href
}

// The server answers a good code by leading on, and any other with a page that says why not.
async function enter(form: FormData) {
  const reply = await fetch(new URL('../signin', consoleBase), {
    method: 'POST',
    redirect: 'manual',
    body: new URLSearchParams({ code: String(form.get('code')), return: '/console/' }),
  }).catch(() => undefined)
  if (reply?.type === 'opaqueredirect') return
  const page = reply && new DOMParser().parseFromString(await reply.text(), 'text/html')
  throw new Error(page?.querySelector('[role=alert], main p')?.textContent ?? (reply ? 'That did not work.' : 'The control plane cannot be reached.'))
}

// The window that an ended session opened closes itself once there is a session again.
async function watch() {
  const reply = await fetch(new URL('../v1/me', consoleBase)).catch(() => undefined)
  if (reply?.ok) window.close()
}
