using FlashSale.Admin.Access;
using FlashSale.Platform;
using Microsoft.AspNetCore.OpenApi;
using Microsoft.OpenApi;

namespace FlashSale.Admin.Http;

/// <summary>
/// Adds to the OpenAPI document everything that neither the endpoints' types nor the part of all hosts say: the roles,
/// If-Match, the problem.
/// </summary>
public static class Document
{
    /// <summary>Adds these parts to the document.</summary>
    public static void Describe(OpenApiOptions options)
    {
        ApiDocument.Describe(options, "FlashSale, campaign managers",
            new OpenApiSecurityScheme { Type = SecuritySchemeType.Http, Scheme = "bearer", Description = "A token of role viewer, manager or operator; each may do what those before it may." },
            isOpen: _ => false);
        options.AddOperationTransformer((operation, context, _) =>
        {
            if (context.Description.ActionDescriptor.EndpointMetadata.OfType<RequiredRole>().LastOrDefault() is { } required)
                operation.Description = $"{operation.Description} Role: {required.Role.Text()}.".TrimStart();
            if (context.Description.ActionDescriptor.EndpointMetadata.OfType<TakesIfMatch>().Any())
            {
                ApiDocument.AddParameter(operation, ParameterLocation.Header, "If-Match",
                    "The ETag of an earlier answer: another version is left as it is, and answered by 412.", ApiDocument.Of(JsonSchemaType.String));
            }
            foreach (var key in operation.Parameters?.OfType<OpenApiParameter>().Where(parameter => parameter.Name == IdempotencyKey.Header) ?? []) key.Required = true;
            operation.Responses ??= [];
            operation.Responses["default"] = ApiDocument.ProblemResponse(context, "A problem.");
            return Task.CompletedTask;
        });
    }
}
