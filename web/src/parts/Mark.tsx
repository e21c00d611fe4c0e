/** Mark is the cord with its ring. */
export function Mark({ size, color = 'currentColor' }: { size: number; color?: string }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" fill="none" aria-hidden>
      <path d="M16 2v7" stroke={color} strokeWidth="4" strokeLinecap="round" />
      <circle cx="16" cy="19" r="9" stroke={color} strokeWidth="4.5" />
    </svg>
  )
}
