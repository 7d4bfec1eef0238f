namespace FlashSale.Api.Admission;

/// <summary>The JSON body of a request for admission. The body may be missing.</summary>
/// <param name="Solution">The solution of a challenge, as an ALTCHA widget makes it. Ignored while challenges are
/// off.</param>
public sealed record AdmissionForm(string? Solution = null);
